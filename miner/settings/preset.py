"""Settings of the models: what a file under ``config/presets`` may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from miner.settings.memory import MemorySettings
from miner.settings.section import Section

MIN_GAUSSIANS, MAX_GAUSSIANS = 7_000, 500_000
FEW_STEP_PIPELINE = "FluxPipeline"


class TextToImageSettings(Section):
    """The first stage: a prompt becomes a picture.

    Attributes:
        weights: a folder in the diffusers layout, as ``gpu/weights.py`` finds it.
        pipeline: the diffusers pipeline class that reads the folder.
        template: what the model is told; ``{prompt}`` is replaced by the caller's words.
        lowercase: for models whose tokenizers know small letters only.
        size_px: side of the square picture.
        max_sequence_length: text tokens, passed on where the pipeline knows the word.
        batch_size: prompts painted in one pass at most.
        scheduler: ``dpmsolver++`` in place of the model's own, which then wants 20 to 25 steps.
        dtype: ``auto`` is bfloat16 on CUDA and float32 on the CPU.
        compile: on CUDA the denoiser's repeated blocks are compiled where it is resident and not in
            nf4; the first picture of each size then takes up to a minute, once for each machine.
        channels_last: on CUDA convolutions get their weights in this order.
    """

    weights: str
    pipeline: str = FEW_STEP_PIPELINE
    scheduler: Literal["", "dpmsolver++"] = ""
    template: str = "{prompt}"
    lowercase: bool = False
    steps: int = Field(default=3, ge=1, le=100)
    guidance_scale: float = Field(default=0.0, ge=0, le=50)
    size_px: int = Field(default=512, ge=16, le=2048)
    max_sequence_length: int = Field(default=256, ge=1, le=512)
    batch_size: int = Field(default=4, ge=1, le=64)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False
    channels_last: bool = False

    @model_validator(mode="after")
    def _check(self) -> TextToImageSettings:
        if self.pipeline == FEW_STEP_PIPELINE and self.steps > 4:
            raise ValueError("steps: the distilled FLUX takes 1 to 4 steps")
        if self.template.count("{prompt}") != 1:
            raise ValueError("template: must hold {prompt} exactly once")
        return self


class BackgroundSettings(Section):
    """The second stage: the object is cut out and framed.

    Attributes:
        weights: an ONNX file, as ``gpu/weights.py`` finds it.
        model: the rembg model, always named: rembg's own default may not be used commercially.
        output: what the network's first output holds, to tell an empty mask from a faint one.
        foreground_ratio: side of the object over the side of the framed picture.
        smallest_share: islands smaller than this share of the largest one are dropped.
    """

    weights: str
    model: str
    output: Literal["probability", "logit"] = "probability"
    foreground_ratio: float = Field(default=0.85, gt=0.1, le=1)
    smallest_share: float = Field(default=0.02, ge=0, le=1)


class ReconstructSettings(Section):
    """The third stage: a framed picture becomes a field.

    Attributes:
        weights: a TripoSR folder, as ``gpu/weights.py`` finds it.
        dtype: ``auto`` is float32 everywhere: the model is small beside the first stage.
        matmul: how float32 is computed on CUDA cards from Ampere on: ``full``, or in ``tf32``,
            which is faster and keeps 10 bits of each factor.
    """

    weights: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    matmul: Literal["full", "tf32"] = "full"


class SurfaceKeys(Section):
    """The fourth stage: the field becomes Gaussians; the keys of ``SurfaceSettings`` to choose.

    Attributes:
        count: how many Gaussians to place; the bounds are those of a valid asset.
        threshold: activated density at the surface.
        resolution: cells of the finest grid along each side of the field.
        base_resolution: cells of the coarsest grid.
        island_share: parts of less than this share of the surface are left out; 0 keeps all.
    """

    count: int = Field(default=40_000, ge=MIN_GAUSSIANS, le=MAX_GAUSSIANS)
    threshold: float = Field(default=25.0, gt=0)
    resolution: int = Field(default=256, ge=32, le=1024)
    base_resolution: int = Field(default=64, ge=16, le=256)
    island_share: float = Field(default=0.01, ge=0, le=0.5)


class SelfCheckSettings(Section):
    """The last stage: is what was made what was asked for, as the subnet's scorer would see it.

    The score follows the subnet's formula: 0 where the alignment of the views with the prompt is
    under ``least_alignment``, else 0.2 of the alignment and 0.8 of ``assumed_quality``, which
    stands for what only the scorer's own networks can tell.

    Attributes:
        mode: ``off``; ``report`` measures; ``on`` also tries other seeds for a prompt while a
            score is under ``threshold`` and time that costs nothing is left.
        weights: a CLIP folder in the layout of transformers, as ``gpu/weights.py`` finds it.
        threshold: a score under it counts as a failed check; the subnet accepts from 0.6.
        best_of: candidates at most, the first included.
        free_seconds: time from the start of a job within which another candidate must be expected
            to end, for jobs that do not bring a figure of their own.
        views: how many of the scorer's 16, spread evenly; 16 is all of them.
        size_px: side of a view; the scorer's is 518.
        max_gaussians: larger splats are thinned for the views, which a CPU needs; 0 never thins.
        text_divisor: the subnet divides the pooled cosine of text and views by 0.35.
        image_divisor: the same for a picture in place of a text.
        least_alignment: under this the subnet's score is 0.
        pixel_factor: of the mean and the deviation by which pixels are normalised; the subnet
            multiplies both by 3, and its divisor goes with that.
        assumed_quality: 0 to 1.
        lowercase: for models whose tokenizers know small letters only.
        dtype: ``auto`` is bfloat16 on CUDA and float32 on the CPU.
    """

    mode: Literal["off", "report", "on"] = "off"
    weights: str = ""
    threshold: float = Field(default=0.6, ge=0, le=1)
    best_of: int = Field(default=3, ge=1, le=32)
    free_seconds: float = Field(default=0.0, ge=0, le=3600)
    views: int = Field(default=16, ge=1, le=16)
    size_px: int = Field(default=256, ge=32, le=1024)
    max_gaussians: int = Field(default=0, ge=0)
    text_divisor: float = Field(default=0.35, gt=0, le=1)
    image_divisor: float = Field(default=1.0, gt=0, le=1)
    least_alignment: float = Field(default=0.3, ge=0, le=1)
    pixel_factor: float = Field(default=1.0, gt=0, le=10)
    assumed_quality: float = Field(default=0.75, ge=0, le=1)
    lowercase: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @model_validator(mode="after")
    def _check(self) -> SelfCheckSettings:
        if self.mode != "off" and not self.weights:
            raise ValueError("weights: the self-check needs a model; name one or set mode = off")
        return self


class DreamGaussianKeys(Section):
    """The generator to roll back to, where the preset has one.

    Attributes:
        config: a file under ``config/dreamgaussian`` by name, or its absolute path; empty: none.
        dtype: of the guidance's networks; ``auto`` leaves it to that file.
    """

    config: str = ""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class Preset(Section):
    """One complete choice of models and of how they are run: a file under ``config/presets``."""

    name: str
    description: str = ""
    text_to_image: TextToImageSettings
    background: BackgroundSettings
    reconstruct: ReconstructSettings
    surface: SurfaceKeys = SurfaceKeys()
    dreamgaussian: DreamGaussianKeys = DreamGaussianKeys()
    self_check: SelfCheckSettings = SelfCheckSettings()
    memory: MemorySettings = MemorySettings()

"""First stage: prompts become pictures, by a diffusers pipeline.

Reading the words, denoising and decoding follow each other for all prompts of a call, so that each
needs its own networks alone. Knows nothing of what happens to a picture afterwards. One instance
serves one caller at a time, because diffusers keeps the state of a call on the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from miner.errors import BadOutput
from miner.gpu.capability import Settled
from miner.gpu.device import Device
from miner.gpu.plan import MemoryPlan
from miner.pipeline.painter_kinds import DENOISER, ENCODERS, FAMILIES, VAE, Pixels, Whole
from miner.pipeline.painter_load import Loaded, all_resident, load_parts, pipeline_class
from miner.pipeline.painter_networks import Networks
from miner.pipeline.painter_prompts import PromptCache
from miner.pipeline.painter_synthetic import SCHNELL, synthetic_flux
from miner.pipeline.residence import Residence
from miner.pipeline.stage import CancelFlag
from miner.settings import TextToImageSettings

STAGE = "text_to_image"
SMALLER = 0.75
"""Of a side, where a picture of the usual size does not fit: a little over half its pixels."""

StepCallback = Callable[[int, int], None]
"""Called after each denoising step with the steps done and the steps in all."""

Size = tuple[int, int]
"""Width and height."""


class TextToImage:
    """A loaded text-to-image model.

    Args:
        pipeline: a diffusers text-to-image pipeline; on its device where it is of no known family.
        settings: how to call it.
        loaded: its parts, where its family is known.

    Attributes:
        prompts: what was read before; None where the pipeline is called whole.
        settled: precisions that its parts were loaded in.
    """

    def __init__(
        self, pipeline: Any, settings: TextToImageSettings, loaded: Loaded | None = None
    ) -> None:
        self.settings = settings
        self.settled: Mapping[str, Settled] = {} if loaded is None else loaded.settled
        self._pipeline = pipeline
        self._pipeline.set_progress_bar_config(disable=True)
        self._loaded = loaded
        self._whole = Whole(pipeline, settings) if loaded is None else None
        self.prompts: PromptCache | None = None
        if loaded is not None:
            self.prompts = PromptCache(loaded.family.read, lambda: self._at_work(ENCODERS))

    @classmethod
    def synthetic(
        cls,
        settings: TextToImageSettings,
        device: Device,
        sizes: Mapping[str, dict[str, Any]] = SCHNELL,
    ) -> TextToImage:
        """A FLUX with random weights, built on the device itself; it reads letter by letter."""
        pipeline = synthetic_flux(settings, device, sizes)
        return cls(pipeline, settings, all_resident(pipeline, settings, device))

    def save(self, folder: Path) -> None:
        """Writes the model in the diffusers layout; all of it must be resident."""
        self._pipeline.save_pretrained(folder)

    @property
    def parameters(self) -> int:
        """Of all parts of the model that are loaded, together."""
        parts = self._pipeline.components.values()
        return sum(
            parameter.numel()
            for part in parts
            if isinstance(part, torch.nn.Module)
            for parameter in part.parameters()
        )

    def homes(self) -> Iterable[Residence[Networks]]:
        """Where each part waits; none where the pipeline is called whole."""
        return [] if self._loaded is None else self._loaded.residences.values()

    @property
    def multiple_px(self) -> int:
        """Sides of a picture are multiples of it."""
        return 8 if self._loaded is None else self._loaded.family.multiple_px

    @classmethod
    def load(
        cls,
        folder: Path,
        settings: TextToImageSettings,
        device: Device,
        plan: MemoryPlan | None = None,
    ) -> TextToImage:
        """The model in ``folder`` (diffusers layout), read without any use of the network.

        Args:
            folder: of the whole pipeline.
            settings: pipeline class and number type.
            device: that computes.
            plan: precision and residency of each part; all resident without one, and where the
                pipeline is of no family that is known here.

        Raises:
            ConfigError: diffusers has no pipeline class of the preset's name.
            WeightsError: a network's folder does not say what it is.
        """
        kind = pipeline_class(settings.pipeline)
        if settings.pipeline in FAMILIES:
            loaded = load_parts(folder, settings, device, plan)
            return cls(loaded.pipeline, settings, loaded)
        dtype = device.dtype(settings.dtype)
        pipeline = kind.from_pretrained(folder, dtype=dtype, local_files_only=True)
        return cls(pipeline.to(device.torch_device), settings)

    def paint(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        cancel: CancelFlag | None = None,
        on_step: StepCallback | None = None,
        steps: int | None = None,
        size: Size | None = None,
        small: bool = False,
    ) -> list[Image.Image]:
        """One RGB picture for each prompt.

        Each picture has its own generator, on the CPU, so that its noise depends on its seed alone:
        not on its neighbours in the batch, and not on the kind of device. Pixels may still differ
        in their last bits: CUDA multiplies batches of other sizes by other kernels.

        Args:
            prompts: checked prompts; the template is put around them here.
            seeds: one for each prompt.
            cancel: looked at between denoising steps.
            on_step: progress over all batches.
            steps: of denoising; as the settings say when not given.
            size: width and height; the settings' square when not given.
            small: with less memory: one at a time, and a single one with fewer pixels.

        Raises:
            BadOutput: the model made numbers that are not finite.
            JobCancelled: the flag was set.
        """
        assert len(prompts) == len(seeds)
        steps = steps or self.settings.steps
        size = size or (self.settings.size_px, self.settings.size_px)
        if small and len(prompts) == 1:
            size = self._reduced(size)
        at_once = 1 if small else self.settings.batch_size
        batches = [slice(start, start + at_once) for start in range(0, len(prompts), at_once)]
        wordings = [self._wording(prompt) for prompt in prompts]
        step = _Steps(steps * len(batches), cancel, on_step)

        def how(batch: slice) -> dict[str, Any]:
            return {
                "width": size[0],
                "height": size[1],
                "num_inference_steps": steps,
                "guidance_scale": self.settings.guidance_scale,
                "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds[batch]],
                "callback_on_step_end": step,
            }

        if self._whole is not None:
            pixels = [self._whole(wordings[batch], **how(batch)) for batch in batches]
        else:
            pixels = self._in_parts(wordings, batches, how, size)
        return [_picture(one) for many in pixels for one in many]

    def _in_parts(
        self,
        wordings: Sequence[str],
        batches: Sequence[slice],
        how: Callable[[slice], dict[str, Any]],
        size: Size,
    ) -> list[Pixels]:
        """Each part at work for the whole call before the next one comes."""
        assert self._loaded is not None and self.prompts is not None
        family, place = self._loaded.family, self._loaded.device.torch_device
        words = self.prompts.words(wordings)
        latents: list[Tensor] = []
        with self._at_work(DENOISER):
            for batch in batches:
                given = family.given(words[batch], place)
                made = self._pipeline(**given, **how(batch), output_type="latent")
                latents.append(made.images)
        with self._at_work(VAE):
            return [family.decode(some, size) for some in latents]

    def _at_work(self, part: str) -> AbstractContextManager[object]:
        """For a block in which a part's networks are on the device."""
        assert self._loaded is not None
        with ExitStack() as stack:
            networks = stack.enter_context(self._loaded.residences[part].in_use())
            stack.enter_context(networks.at_work())
            return stack.pop_all()

    def _wording(self, prompt: str) -> str:
        """What the model is told: the template around the prompt, in its case."""
        told = self.settings.template.replace("{prompt}", prompt)
        return told.lower() if self.settings.lowercase else told

    def _reduced(self, size: Size) -> Size:
        multiple = self.multiple_px
        width, height = (max(1, int(side * SMALLER) // multiple) * multiple for side in size)
        return width, height


class _Steps:
    """What diffusers calls after each denoising step."""

    def __init__(self, total: int, cancel: CancelFlag | None, told: StepCallback | None) -> None:
        self._done, self._total = 0, total
        self._cancel, self._told = cancel, told

    def __call__(self, _pipe: Any, _step: int, _time: Any, kwargs: Any) -> Any:
        self._done += 1
        if self._cancel is not None:
            self._cancel.check()
        if self._told is not None:
            self._told(self._done, self._total)
        return kwargs


def _picture(pixels: Pixels) -> Image.Image:
    if not np.isfinite(pixels).all():
        raise BadOutput(STAGE, "the picture holds numbers that are not finite")
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))

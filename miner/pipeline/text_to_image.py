"""First stage: prompts become pictures, by a diffusers pipeline.

Knows nothing of what happens to a picture afterwards. One instance serves one caller at a time,
because diffusers keeps the state of a call on the pipeline.
"""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.utils import logging as transformers_logging

from miner.errors import BadOutput, ConfigError
from miner.gpu.device import Device
from miner.pipeline.stage import CancelFlag
from miner.settings import TextToImageSettings

STAGE = "text_to_image"

SCHNELL: dict[str, dict[str, Any]] = {
    "transformer": {},
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 16,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
    },
    "clip": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "eos_token_id": 1,
    },
    "t5": {
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    },
}
"""Sizes of FLUX.1-schnell's parts where they are not the defaults of their classes."""

StepCallback = Callable[[int, int], None]
"""Called after each denoising step with the steps done and the steps in all."""


class TextToImage:
    """A loaded text-to-image model.

    Args:
        pipeline: a diffusers text-to-image pipeline, on its device.
        settings: how to call it.
    """

    def __init__(self, pipeline: Any, settings: TextToImageSettings) -> None:
        self.settings = settings
        self._pipeline = pipeline
        self._pipeline.set_progress_bar_config(disable=True)
        self._takes_length = (
            "max_sequence_length" in inspect.signature(pipeline.__call__).parameters
        )

    @classmethod
    def synthetic(
        cls,
        settings: TextToImageSettings,
        device: Device,
        sizes: Mapping[str, dict[str, Any]] = SCHNELL,
    ) -> TextToImage:
        """A FLUX with random weights, built on the device itself; it reads letter by letter."""
        transformers_logging.set_verbosity_error()
        with torch.device(device.torch_device), _default_dtype(device.dtype(settings.dtype)):
            pipeline = diffusers.FluxPipeline(
                scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
                vae=diffusers.AutoencoderKL(**sizes["vae"]),
                text_encoder=CLIPTextModel(CLIPTextConfig(**sizes["clip"])),
                tokenizer=_letter_clip_tokenizer(),
                text_encoder_2=T5EncoderModel(T5Config(**sizes["t5"])),
                tokenizer_2=_letter_t5_tokenizer(settings.max_sequence_length),
                transformer=diffusers.FluxTransformer2DModel(**sizes["transformer"]),
            )
        return cls(pipeline.to(device.torch_device), settings)

    def save(self, folder: Path) -> None:
        """Writes the model in the diffusers layout."""
        self._pipeline.save_pretrained(folder)

    @property
    def parameters(self) -> int:
        """Of all parts of the model together."""
        parts = self._pipeline.components.values()
        return sum(
            parameter.numel()
            for part in parts
            if isinstance(part, torch.nn.Module)
            for parameter in part.parameters()
        )

    @classmethod
    def load(cls, folder: Path, settings: TextToImageSettings, device: Device) -> TextToImage:
        """The model in ``folder`` (diffusers layout), read without any use of the network.

        Raises:
            ConfigError: diffusers has no pipeline class of the preset's name.
        """
        # Before diffusers looks up its classes, which makes transformers tell of what it lacks.
        transformers_logging.set_verbosity_error()
        kind = _pipeline_class(settings.pipeline)
        diffusers_logging.set_verbosity_error()  # it tells of every prompt that it cuts short
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
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
    ) -> list[Image.Image]:
        """One square RGB picture for each prompt.

        Each picture has its own generator, on the CPU, so that it depends on its prompt and seed
        alone: not on its neighbours in the batch, and not on the kind of device.

        Args:
            prompts: checked prompts; the template is put around them here.
            seeds: one for each prompt.
            cancel: looked at between denoising steps.
            on_step: progress over all batches.
            steps: of denoising; as the settings say when not given.

        Raises:
            BadOutput: the model made numbers that are not finite.
            JobCancelled: the flag was set.
        """
        assert len(prompts) == len(seeds)
        size, steps = self.settings.batch_size, steps or self.settings.steps
        starts = range(0, len(prompts), size)
        done = 0

        def step_ended(_pipe: Any, _step: int, _time: Any, kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if cancel is not None:
                cancel.check()
            if on_step is not None:
                on_step(done, steps * len(starts))
            return kwargs

        pictures: list[Image.Image] = []
        for start in starts:
            batch = slice(start, start + size)
            pictures += self._paint_batch(prompts[batch], seeds[batch], steps, step_ended)
        return pictures

    def _wording(self, prompt: str) -> str:
        """What the model is told: the template around the prompt, in its case."""
        told = self.settings.template.replace("{prompt}", prompt)
        return told.lower() if self.settings.lowercase else told

    def _paint_batch(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        steps: int,
        step_ended: Callable[..., Any],
    ) -> list[Image.Image]:
        settings = self.settings
        lengths = {"max_sequence_length": settings.max_sequence_length}
        output = self._pipeline(
            prompt=[self._wording(prompt) for prompt in prompts],
            height=settings.size_px,
            width=settings.size_px,
            num_inference_steps=steps,
            guidance_scale=settings.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
            callback_on_step_end=step_ended,
            **(lengths if self._takes_length else {}),
        )
        if not np.isfinite(output.images).all():
            raise BadOutput(STAGE, "the picture holds numbers that are not finite")
        return [
            Image.fromarray((image.clip(0, 1) * 255).round().astype(np.uint8))
            for image in output.images
        ]


def _pipeline_class(name: str) -> Any:
    kind = getattr(diffusers, name, None)
    if inspect.isclass(kind) and issubclass(kind, diffusers.DiffusionPipeline):
        return kind
    raise ConfigError(f"text_to_image.pipeline: diffusers has no pipeline {name!r}")


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Modules built in the block get weights of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _letter_clip_tokenizer() -> CLIPTokenizer:
    """One token a letter: enough where the weights are random, and nothing to download."""
    tokens = ["<|startoftext|>", "<|endoftext|>"]
    tokens += [c + end for c in string.printable.strip() for end in ("", "</w>")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _letter_t5_tokenizer(length: int) -> T5Tokenizer:
    """As the other one, for the other encoder."""
    pieces = ["<pad>", "</s>", "<unk>", "\N{LOWER ONE EIGHTH BLOCK}", *string.printable.strip()]
    return T5Tokenizer(
        vocab=[(piece, 0.0) for piece in pieces], extra_ids=0, model_max_length=length
    )

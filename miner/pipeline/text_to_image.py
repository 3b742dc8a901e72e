"""First stage: prompts become pictures, by a diffusers pipeline.

Knows nothing of what happens to a picture afterwards. One instance serves one caller at a time,
because diffusers keeps the state of a call on the pipeline.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from miner.errors import BadOutput, ConfigError
from miner.gpu.device import Device
from miner.pipeline.stage import CancelFlag
from miner.settings import TextToImageSettings

STAGE = "text_to_image"

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
    def load(cls, folder: Path, settings: TextToImageSettings, device: Device) -> TextToImage:
        """The model in ``folder`` (diffusers layout), read without any use of the network.

        Raises:
            ConfigError: diffusers has no pipeline class of the preset's name.
        """
        kind = getattr(diffusers, settings.pipeline, None)
        if not (inspect.isclass(kind) and issubclass(kind, diffusers.DiffusionPipeline)):
            raise ConfigError(f"text_to_image.pipeline: diffusers has no {settings.pipeline!r}")
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
    ) -> list[Image.Image]:
        """One square RGB picture for each prompt.

        Each picture has its own generator, on the CPU, so that it depends on its prompt and seed
        alone: not on its neighbours in the batch, and not on the kind of device.

        Args:
            prompts: checked prompts; the template is put around them here.
            seeds: one for each prompt.
            cancel: looked at between denoising steps.
            on_step: progress over all batches.

        Raises:
            BadOutput: the model made numbers that are not finite.
            JobCancelled: the flag was set.
        """
        assert len(prompts) == len(seeds)
        size = self.settings.batch_size
        starts = range(0, len(prompts), size)
        done = 0

        def step_ended(_pipe: Any, _step: int, _time: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            nonlocal done
            done += 1
            if cancel is not None:
                cancel.check()
            if on_step is not None:
                on_step(done, self.settings.steps * len(starts))
            return kwargs

        pictures: list[Image.Image] = []
        for start in starts:
            batch = slice(start, start + size)
            pictures += self._paint_batch(prompts[batch], seeds[batch], step_ended)
        return pictures

    def _paint_batch(
        self, prompts: Sequence[str], seeds: Sequence[int], step_ended: Callable[..., Any]
    ) -> list[Image.Image]:
        settings = self.settings
        lengths = {"max_sequence_length": settings.max_sequence_length}
        output = self._pipeline(
            prompt=[settings.template.replace("{prompt}", prompt) for prompt in prompts],
            height=settings.size_px,
            width=settings.size_px,
            num_inference_steps=settings.steps,
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

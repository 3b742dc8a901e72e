"""What differs between families of text-to-image models: how words go in and pictures come out.

A family's own pipeline denoises; reading the words and decoding the latents are steps of their own
here, so that each network is needed for one step alone. A pipeline of no known family is called
whole, as it is: its words cannot be remembered and all its networks must be there together.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.settings import TextToImageSettings

Words = Mapping[str, Tensor]
"""What the text encoders made of one wording, by name; each with a batch of one in front."""

Pixels = NDArray[np.float32]

ENCODERS, DENOISER, VAE = "text_encoders", "transformer", "vae"
"""The parts of a painter, named as in a memory plan."""


class Family(Protocol):
    """How one family is called.

    Attributes:
        parts: names of the pipeline's networks, by part of the plan.
        multiple_px: sides of a picture are multiples of it.
    """

    parts: Mapping[str, tuple[str, ...]]
    multiple_px: int

    def read(self, wording: str) -> Words:
        """What the text encoders, which are on the device, make of a wording."""

    def given(self, words: Sequence[Words], device: torch.device) -> Mapping[str, Any]:
        """Arguments that tell the pipeline what was read, for a batch; the denoiser is there."""

    def decode(self, latents: Tensor, size: tuple[int, int]) -> Pixels:
        """Pictures [B,H,W,3] in [0,1] of what denoising left; size is (width, height)."""


class Flux:
    """FLUX: a pooled vector of CLIP and a sequence of T5, latents packed two by two."""

    parts: Mapping[str, tuple[str, ...]] = {
        ENCODERS: ("text_encoder", "text_encoder_2"),
        DENOISER: ("transformer",),
        VAE: ("vae",),
    }

    def __init__(self, pipeline: Any, settings: TextToImageSettings, device: torch.device) -> None:
        self._pipeline = pipeline
        self._length = settings.max_sequence_length
        self._device = device
        self.multiple_px: int = 2 * pipeline.vae_scale_factor

    @torch.no_grad()
    def read(self, wording: str) -> Words:
        """As ``Family.read``."""
        sequence, pooled, _ = self._pipeline.encode_prompt(
            [wording], device=self._device, max_sequence_length=self._length
        )
        return {"prompt_embeds": sequence, "pooled_prompt_embeds": pooled}

    def given(self, words: Sequence[Words], device: torch.device) -> Mapping[str, Any]:
        """As ``Family.given``."""
        return _together(words, device, self._pipeline.transformer.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor, size: tuple[int, int]) -> Pixels:
        """As ``Family.decode``."""
        pipe, (width, height) = self._pipeline, size
        config = pipe.vae.config
        unpacked = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
        image = _decoded(pipe.vae, unpacked / config.scaling_factor + config.shift_factor)
        return _pixels(pipe, image)


class StableDiffusion:
    """Stable Diffusion and its distilled kin: one sequence of CLIP, and one of no words at all."""

    parts: Mapping[str, tuple[str, ...]] = {
        ENCODERS: ("text_encoder",),
        DENOISER: ("unet",),
        VAE: ("vae",),
    }

    def __init__(self, pipeline: Any, settings: TextToImageSettings, device: torch.device) -> None:
        self._pipeline = pipeline
        self._guided = settings.guidance_scale > 1
        self._device = device
        self.multiple_px: int = pipeline.vae_scale_factor

    @torch.no_grad()
    def read(self, wording: str) -> Words:
        """As ``Family.read``."""
        words, none = self._pipeline.encode_prompt([wording], self._device, 1, self._guided)
        found = {"prompt_embeds": words}
        return {**found, "negative_prompt_embeds": none} if self._guided else found

    def given(self, words: Sequence[Words], device: torch.device) -> Mapping[str, Any]:
        """As ``Family.given``."""
        return _together(words, device, self._pipeline.unet.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor, size: tuple[int, int]) -> Pixels:
        """As ``Family.decode``."""
        vae = self._pipeline.vae
        return _pixels(self._pipeline, _decoded(vae, latents / vae.config.scaling_factor))


FAMILIES: Mapping[str, type[Flux] | type[StableDiffusion]] = {
    "FluxPipeline": Flux,
    "StableDiffusionPipeline": StableDiffusion,
}
"""By the name of the diffusers pipeline class."""


class Whole:
    """A pipeline of no known family: called whole."""

    arguments: ClassVar[str] = "max_sequence_length"

    def __init__(self, pipeline: Any, settings: TextToImageSettings) -> None:
        self._pipeline = pipeline
        known = inspect.signature(pipeline.__call__).parameters
        lengths = {self.arguments: settings.max_sequence_length}
        self._lengths = lengths if self.arguments in known else {}

    def __call__(self, wordings: Sequence[str], **how: Any) -> Pixels:
        """Pictures [B,H,W,3] in [0,1]."""
        output = self._pipeline(prompt=list(wordings), output_type="np", **how, **self._lengths)
        return np.asarray(output.images, np.float32)


def _together(
    words: Sequence[Words], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """One batch of several wordings, in the numbers that the denoiser computes in."""
    return {name: torch.cat([one[name] for one in words]).to(device, dtype) for name in words[0]}


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    """One picture at a time: neighbours in a batch change nothing, and memory stays small."""
    latents = latents.to(vae.device, vae.dtype)
    return torch.cat([vae.decode(one[None], return_dict=False)[0] for one in latents])


def _pixels(pipeline: Any, image: Tensor) -> Pixels:
    return np.asarray(pipeline.image_processor.postprocess(image, output_type="np"), np.float32)

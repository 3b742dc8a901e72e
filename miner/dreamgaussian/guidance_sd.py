"""Stable Diffusion 2.1 base and its like: views judged one by one against the prompt.

The words "front view", "side view" or "back view" are added by where a view is taken from, and
"from above" where it looks down steeply (Poole et al., "DreamFusion", section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from miner.dreamgaussian.guidance import Subject
from miner.dreamgaussian.guidance_latents import LatentModel, guided, load_latent_model
from miner.dreamgaussian.guidance_text import TextEncoder
from miner.dreamgaussian.poses import Pose
from miner.dreamgaussian.settings import GuidanceSettings
from miner.gpu.device import Device

SIDES = ("front view", "side view", "back view", "view from above")

FRONT_DEG = 60.0
"""The front and the back are so wide to either side of their middle."""

ABOVE_DEG = 60.0


class StableDiffusion:
    """A loaded model of this kind, and the prompt it was last given."""

    wants_image = False
    group = 1

    def __init__(self, model: LatentModel, text: TextEncoder, settings: GuidanceSettings) -> None:
        self.model = model
        self._text = text
        self._settings = settings
        self._embeddings = torch.empty(0)

    @classmethod
    def load(
        cls, folder: Path, vae_folder: Path | None, settings: GuidanceSettings, device: Device
    ) -> StableDiffusion:
        """The model in a folder in the diffusers layout.

        Raises:
            WeightsError: a part is missing.
        """
        model = load_latent_model(folder, vae_folder, settings, device)
        return cls(model, TextEncoder.load(folder, model.device, model.dtype), settings)

    def networks(self) -> Sequence[nn.Module]:
        """All networks."""
        return [self.model.unet, self.model.vae, self._text.encoder]

    def prepare(self, subject: Subject, seed: int) -> None:
        """Reads the prompt once for each side, and the negative prompt."""
        assert subject.prompt is not None, "this guidance needs a prompt"
        texts = [f"{subject.prompt}, {side}" for side in SIDES]
        self._embeddings = self._text([*texts, self._settings.negative_prompt])

    def loss(
        self, views: Tensor, poses: Sequence[Pose], progress: float, generator: torch.Generator
    ) -> Tensor:
        """Score distillation with weight 1 - alpha_bar, the mean over the views."""
        latents = self.model.encode(views, self._settings.size_px)
        rows = torch.tensor([side(pose) for pose in poses], device=self._embeddings.device)
        told = self._embeddings[rows]
        free = self._embeddings[-1:].expand_as(told)

        def predict(noisy: Tensor, time: int) -> Tensor:
            both = torch.cat([noisy, noisy]).to(self.model.dtype)
            output: Tensor = self.model.unet(both, time, torch.cat([told, free])).sample
            conditioned, unconditioned = output.chunk(2)
            return guided(conditioned, unconditioned, self._settings.guidance_scale)

        summed = self.model.distil(latents, predict, self._settings, progress, generator)
        return summed / len(views)


def side(pose: Pose) -> int:
    """Which of ``SIDES`` a view shows."""
    if pose.elevation_deg > ABOVE_DEG:
        return 3
    turned = abs((pose.azimuth_deg + 180.0) % 360.0 - 180.0)
    if turned < FRONT_DEG:
        return 0
    return 2 if turned > 180.0 - FRONT_DEG else 1

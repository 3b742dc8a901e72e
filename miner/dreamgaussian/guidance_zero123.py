"""zero123-xl, stable-zero123 and small ones of the same layout: views of an object from a picture.

Liu et al., "Zero-1-to-3" (2023). The folder is in the diffusers layout: ``unet`` (its input is the
noisy latents and, behind them, the picture's own), ``vae``, ``image_encoder`` (CLIP with
projection), ``scheduler``, and one linear layer, ``clip_camera_projection`` or ``cc_projection``,
from the picture's embedding and four numbers of the camera (``poses.relative_angles``) to the one
token of cross-attention. Only stock classes are used; no code of the folder is run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModelWithProjection

from miner.dreamgaussian.guidance import Subject
from miner.dreamgaussian.guidance_latents import (
    LatentModel,
    frozen,
    guided,
    load_latent_model,
    part,
    read_tensors,
)
from miner.dreamgaussian.poses import Pose, relative_angles
from miner.dreamgaussian.reference import over
from miner.dreamgaussian.settings import GuidanceSettings
from miner.errors import WeightsError
from miner.gpu.device import Device

CAMERA_NUMBERS = 4

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures CLIP was trained on, where the folder says nothing else."""


class Zero123:
    """A loaded model of this kind, and the picture it was last given."""

    wants_image = True
    group = 1

    def __init__(
        self,
        model: LatentModel,
        image_encoder: Any,
        projection: nn.Linear,
        settings: GuidanceSettings,
        normalisation: tuple[Sequence[float], Sequence[float]] = (CLIP_MEAN, CLIP_STD),
    ) -> None:
        self.model = model
        self._encoder = frozen(image_encoder, model.device, model.dtype)
        self._projection = frozen(projection, model.device, model.dtype)
        self._settings = settings
        self._mean, self._std = (
            torch.tensor(numbers, device=model.device).view(1, 3, 1, 1) for numbers in normalisation
        )
        self._reference = Pose(0.0, 0.0, 1.0)
        self._embedding = torch.empty(0)
        self._latents = torch.empty(0)

    @classmethod
    def load(
        cls, folder: Path, vae_folder: Path | None, settings: GuidanceSettings, device: Device
    ) -> Zero123:
        """The model in a folder.

        Raises:
            WeightsError: a part is missing, or the parts do not fit each other.
        """
        model = load_latent_model(folder, vae_folder, settings, device)
        encoder = CLIPVisionModelWithProjection.from_pretrained(
            part(folder, "image_encoder"), local_files_only=True
        )
        projection = read_projection(part(folder, "clip_camera_projection", "cc_projection"))
        width = encoder.config.projection_dim + CAMERA_NUMBERS
        if projection.in_features != width:
            raise WeightsError(
                f"{folder}: the projection takes {projection.in_features} numbers, not {width}"
            )
        return cls(model, encoder, projection, settings, _normalisation(folder))

    def networks(self) -> Sequence[nn.Module]:
        """All networks."""
        return [self.model.unet, self.model.vae, self._encoder, self._projection]

    @torch.no_grad()
    def prepare(self, subject: Subject, seed: int) -> None:
        """Takes in the picture: its embedding, and its latents without the VAE's scale."""
        assert subject.image is not None, "this guidance needs a picture"
        flat = over(subject.image, subject.background.to(subject.image))[None]
        flat = flat.to(self.model.device)
        side = self._encoder.config.image_size
        seen = F.interpolate(
            flat.permute(0, 3, 1, 2), (side, side), mode="bicubic", antialias=True
        ).clamp(0, 1)
        seen = ((seen - self._mean) / self._std).to(self.model.dtype)
        self._embedding = self._encoder(pixel_values=seen).image_embeds
        self._latents = self.model.encode(flat, self._settings.size_px, scaled=False)
        self._reference = subject.reference

    def loss(
        self, views: Tensor, poses: Sequence[Pose], progress: float, generator: torch.Generator
    ) -> Tensor:
        """Score distillation with weight 1 - alpha_bar, summed over the views."""
        latents = self.model.encode(views, self._settings.size_px)
        return self.model.distil(
            latents, self._predictor(poses), self._settings, progress, generator
        )

    def imagine(self, poses: Sequence[Pose], steps: int, generator: torch.Generator) -> Tensor:
        """The object as seen from the poses, sampled."""
        shape = (len(poses), *self._latents.shape[1:])
        return self.model.decode(self.model.sample(shape, self._predictor(poses), steps, generator))

    def _predictor(self, poses: Sequence[Pose]) -> Any:
        """The guided output of the U-Net; without the picture everything of it is zero."""
        tokens = self._tokens(poses)
        own = self._latents.to(self.model.dtype).expand(len(poses), -1, -1, -1)
        scale = self._settings.guidance_scale

        def predict(noisy: Tensor, time: int) -> Tensor:
            noisy = noisy.to(self.model.dtype)
            given = torch.cat([noisy, own], dim=1)
            if scale == 1.0:
                output: Tensor = self.model.unet(given, time, tokens).sample
                return output
            free = torch.cat([noisy, torch.zeros_like(own)], dim=1)
            both = self.model.unet(
                torch.cat([given, free]), time, torch.cat([tokens, torch.zeros_like(tokens)])
            ).sample
            conditioned, unconditioned = both.chunk(2)
            return guided(conditioned, unconditioned, scale)

        return predict

    def _tokens(self, poses: Sequence[Pose]) -> Tensor:
        """[V,1,width] the cross-attention's token of each view."""
        numbers = relative_angles(poses, self._reference)
        if self._settings.stable:
            numbers[:, 3] = math.radians(90.0 - self._reference.elevation_deg)
        numbers = numbers.to(self._embedding)
        both = torch.cat([self._embedding.expand(len(poses), -1), numbers], dim=-1)
        tokens: Tensor = self._projection(both)
        return tokens[:, None]


def read_projection(folder: Path) -> nn.Linear:
    """The linear layer in a folder, whatever its two tensors' prefix.

    Raises:
        WeightsError: there is no such pair of tensors.
    """
    tensors = read_tensors(folder)
    weights = [name for name in tensors if name.rpartition(".")[2] == "weight"]
    if len(weights) != 1 or tensors[weights[0]].ndim != 2:
        raise WeightsError(f"{folder}: is not one linear layer; fetch the weights again")
    weight, bias = tensors[weights[0]], tensors.get(weights[0].removesuffix("weight") + "bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


def _normalisation(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    path = folder / "feature_extractor" / "preprocessor_config.json"
    if not path.is_file():
        return CLIP_MEAN, CLIP_STD
    values = json.loads(path.read_text("utf-8"))
    return values.get("image_mean", CLIP_MEAN), values.get("image_std", CLIP_STD)

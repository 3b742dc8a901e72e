"""What the guidances have in common: a U-Net, a VAE, and the times and noises between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from miner.dreamgaussian.losses import distillation
from miner.dreamgaussian.schedules import noise_step
from miner.dreamgaussian.settings import GuidanceSettings
from miner.errors import WeightsError
from miner.gpu.capability import assume_installed, why_not
from miner.gpu.device import Device
from miner.gpu.plan import Card

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
"""Of Stable Diffusion's training, where a folder says nothing."""

Predict = Callable[[Tensor, int], Tensor]
"""The model's raw output for noisy latents at a time step."""


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A frozen latent diffusion model.

    Attributes:
        unet: predicts noise or velocity.
        vae: between pictures and latents.
        scheduler: knows the noise at each time step; used for its numbers and to sample.
        device: of the networks.
        dtype: of the U-Net; the VAE may have another.
    """

    unet: Any
    vae: Any
    scheduler: Any
    device: torch.device
    dtype: torch.dtype

    @property
    def times(self) -> int:
        """Time steps the model was trained with."""
        return len(self.scheduler.alphas_cumprod)

    def kept(self, time: int) -> float:
        """alpha_bar: the share of the signal's power left at a time step."""
        return float(self.scheduler.alphas_cumprod[time])

    def encode(self, views: Tensor, size: int, scaled: bool = True) -> Tensor:
        """Latents [V,C,h,w] float32 of views [V,H,W,3] in [0,1], resized to ``size``.

        Differentiable. The posterior's mode is taken, not a sample of it: one noise less in the
        gradient.
        """
        pictures = views.permute(0, 3, 1, 2)
        if pictures.shape[-2:] != (size, size):
            pictures = F.interpolate(
                pictures, (size, size), mode="bilinear", align_corners=False, antialias=True
            )
        pictures = (2.0 * pictures - 1.0).to(self.device, self.vae.dtype)
        latents: Tensor = self.vae.encode(pictures).latent_dist.mode().float()
        if not scaled:
            return latents
        config = self.vae.config
        latents = (latents - (config.shift_factor or 0.0)) * config.scaling_factor
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [V,H,W,3] float32 in [0,1] of scaled latents."""
        config = self.vae.config
        plain = latents / config.scaling_factor + (config.shift_factor or 0.0)
        pictures: Tensor = self.vae.decode(plain.to(self.vae.dtype)).sample
        return (0.5 * pictures.float() + 0.5).clamp(0, 1).permute(0, 2, 3, 1)

    def noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Standard noise of that shape, drawn on the CPU."""
        return torch.randn(like.shape, generator=generator).to(like)

    def distil(
        self,
        latents: Tensor,
        predict: Predict,
        settings: GuidanceSettings,
        progress: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Score distillation of latents at the time that belongs to the progress."""
        time = noise_step(settings.noise_range, progress, self.times)
        kept = self.kept(time)
        with torch.no_grad():
            noise = self.noise(latents, generator)
            noisy = kept**0.5 * latents + (1.0 - kept) ** 0.5 * noise
            predicted = self._as_noise(predict(noisy, time), noisy, kept)
        weight = 1.0 if settings.kind == "mvdream" else 1.0 - kept
        return settings.weight * distillation(latents, predicted, noise, weight)

    @torch.no_grad()
    def sample(
        self, shape: tuple[int, ...], predict: Predict, steps: int, generator: torch.Generator
    ) -> Tensor:
        """Latents made from noise, by the scheduler's own rule."""
        scheduler = DDIMScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(min(steps, self.times))
        latents: Tensor = torch.randn(shape, generator=generator).to(self.device, self.dtype)
        for time in scheduler.timesteps.tolist():
            latents = scheduler.step(predict(latents, time), time, latents)[0]
        return latents

    def _as_noise(self, output: Tensor, noisy: Tensor, kept: float) -> Tensor:
        """The output as noise, also where the model predicts velocity (Salimans and Ho, 2022)."""
        velocity: bool = self.scheduler.config.prediction_type == "v_prediction"
        return kept**0.5 * output + (1.0 - kept) ** 0.5 * noisy if velocity else output


def guided(conditioned: Tensor, free: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans, 2022)."""
    return free + scale * (conditioned - free)


def load_latent_model(
    folder: Path, vae_folder: Path | None, settings: GuidanceSettings, device: Device
) -> LatentModel:
    """U-Net, VAE and scheduler of a folder in the diffusers layout."""
    unet = UNet2DConditionModel.from_pretrained(part(folder, "unet"), local_files_only=True)
    return latent_model(
        unet, load_vae(folder, vae_folder), load_scheduler(folder), settings, device
    )


def latent_model(
    unet: Any, vae: Any, scheduler: Any, settings: GuidanceSettings, device: Device
) -> LatentModel:
    """Loaded parts made ready: frozen, on the device, in the number type asked for."""
    dtype = device.dtype(settings.dtype, auto_on_cuda=torch.float16)
    place = device.torch_device
    return LatentModel(
        frozen(unet, place, dtype),
        frozen(vae, place, vae_type(dtype, device.card())),
        scheduler,
        place,
        dtype,
    )


def vae_type(dtype: torch.dtype, card: Card) -> torch.dtype:
    """The VAE's number type beside a U-Net of ``dtype``.

    Gradients go back through its encoder and overflow in float16 before the pictures do; bfloat16
    takes the same bytes.
    """
    has_bf16 = why_not("bf16", card, assume_installed) is None
    return torch.bfloat16 if dtype == torch.float16 and has_bf16 else dtype


def load_vae(folder: Path, vae_folder: Path | None) -> Any:
    """The folder's own VAE, or the other one."""
    place = part(folder, "vae") if vae_folder is None else vae_folder
    return AutoencoderKL.from_pretrained(place, local_files_only=True)


def load_scheduler(folder: Path) -> Any:
    """The folder's noise schedule; Stable Diffusion's where there is none."""
    path = folder / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    config = json.loads(path.read_text("utf-8"))
    return DDIMScheduler.from_config(config)


def part(folder: Path, *names: str) -> Path:
    """The first of these sub-folders that is there.

    Raises:
        WeightsError: none is.
    """
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise WeightsError(f"{folder}: there is no folder {names[0]}; fetch the weights again")


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of the one weight file in a folder.

    Raises:
        WeightsError: there is none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return load_file(files[0])
    files = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")])
    if not files:
        raise WeightsError(f"{folder}: there is no weight file; fetch the weights again")
    read = torch.load(files[0], map_location="cpu", weights_only=True, mmap=True)
    tensors: dict[str, Tensor] = read.get("state_dict", read)
    return tensors


def frozen(module: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The module on the device, without training mode and gradients of its own."""
    # torch's own method: diffusers' override warns of every change of the number type.
    return nn.Module.to(module, device, dtype).eval().requires_grad_(False)

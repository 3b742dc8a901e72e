"""Training of the small zero123: a picture from the front and a camera become a picture from there.

``python -m miner.mini.training.zero123 VIEWS RUN --minutes 50`` resumes from RUN/last.pt, and takes
up shards that are written while it runs. The latents of all pictures are computed once.
"""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .dataset import UNSEEN_SHARD
from .loop import Loop
from .pictures import BACKGROUND
from .zero123_model import Zero123, camera_numbers, scheduler

VAE = Path(__file__).resolve().parents[1] / "weights" / "flux" / "vae"

ALONE = 0.1
"""Share of steps that are told nothing of the picture: what guidance compares with."""

VARIANTS = 3
"""Of each front picture: as rendered, and spoilt as painting and cutting out spoil them."""

HEAVIEST = 8.0
"""Limit on 1 / alpha, the weight that makes an error of the noise one of the velocity: late times
decide what is seen, and without it nearly nothing of the loss speaks of them."""


@dataclass(frozen=True)
class Pairs:
    """N objects with V turned views and VARIANTS front pictures.

    Attributes:
        fronts: [N,VARIANTS,3,64,64] uint8 on the background.
        clean: [N,VARIANTS,16,8,8] float16 latents of them, neither shifted nor scaled.
        turned: [N,V,16,8,8] float16 latents of the turned views, shifted and scaled.
        cameras: [N,V,4], see ``zero123_model.camera_numbers``.
    """

    fronts: Tensor
    clean: Tensor
    turned: Tensor
    cameras: Tensor

    def __len__(self) -> int:
        return len(self.fronts)

    def joined(self, other: Pairs) -> Pairs:
        """Both."""
        return Pairs(
            torch.cat([self.fronts, other.fronts]),
            torch.cat([self.clean, other.clean]),
            torch.cat([self.turned, other.turned]),
            torch.cat([self.cameras, other.cameras]),
        )


def on_background(rgba: Tensor) -> Tensor:
    """Pictures [...,H,W,4] uint8 over the background, [...,3,H,W] in [0,1]."""
    x = rgba.float() / 255
    rgb = x[..., :3] * x[..., 3:] + x.new_tensor(BACKGROUND) * (1 - x[..., 3:])
    return rgb.movedim(-1, -3).contiguous()


def spoilt(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B,3,H,W] a little shifted, resized, blurred, noisy and off-colour.

    Only the object is: the background is always exactly the same, in use as well.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, device=x.device)

    b, behind = len(x), x.new_tensor(BACKGROUND)[:, None, None]
    turn = x.new_zeros(b, 2, 3)
    turn[:, 0, 0] = uniform(0.94, 1.12, b)
    turn[:, 1, 1] = turn[:, 0, 0] * uniform(0.97, 1.03, b)
    turn[:, :, 2] = uniform(-0.05, 0.05, b, 2)
    grid = F.affine_grid(turn, list(x.shape), align_corners=False)
    x = F.grid_sample(x - behind, grid, align_corners=False)  # what comes in from outside is 0
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, uniform(0, 1, b, 1, 1, 1))
    inside = (x.abs().amax(1, keepdim=True) > 0.02).float()
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    noise = noise * uniform(0, 0.06, b, 1, 1, 1) + uniform(-0.04, 0.04, b, 3, 1, 1)
    return (behind + x + inside * noise).clamp(0, 1)


@torch.no_grad()
def latents_of(vae: AutoencoderKL, x: Tensor) -> Tensor:
    """Mean latents [...,16,8,8] of pictures [...,3,64,64] in [0,1]."""
    out = []
    for chunk in torch.split(x.flatten(0, -4) * 2 - 1, 256):
        with torch.autocast(x.device.type, torch.bfloat16):
            found = vae.encode(chunk.contiguous(memory_format=torch.channels_last)).latent_dist
        out.append(found.mean.float().contiguous())
    latents = torch.cat(out)
    return latents.view(*x.shape[:-3], *latents.shape[1:])


def read_shard(path: Path, vae: AutoencoderKL) -> Pairs:
    """The pairs of one shard; how its fronts are spoilt depends on its number alone."""
    with np.load(path) as shard:
        arrays = {name: torch.from_numpy(shard[name]).to(vae.device) for name in shard.files}
    generator = torch.Generator(vae.device).manual_seed(int(path.stem))
    front, turned = on_background(arrays["front"]), on_background(arrays["turned"])
    fronts = torch.stack([front, *(spoilt(front, generator) for _ in range(VARIANTS - 1))], dim=1)
    front_elevation = arrays["front_elevation"][:, None].expand_as(arrays["elevation"])
    cameras = camera_numbers(arrays["elevation"], arrays["azimuth"], front_elevation)
    x0 = (latents_of(vae, turned) - vae.config.shift_factor) * vae.config.scaling_factor
    return Pairs((fronts * 255).round().byte(), latents_of(vae, fronts).half(), x0.half(), cameras)


class Shelf:
    """The shards of seen pairs in a folder, those included that come later."""

    def __init__(self, folder: Path, vae: AutoencoderKL) -> None:
        self._folder, self._vae = folder, vae
        self._known: set[Path] = set()
        self.pairs: Pairs | None = None

    def refresh(self) -> int:
        """Take up what is new; how many objects there are now."""
        paths = (p for p in sorted(self._folder.glob("*.npz")) if int(p.stem) < UNSEEN_SHARD)
        for path in [p for p in paths if p not in self._known]:
            fresh = read_shard(path, self._vae)
            self.pairs = fresh if self.pairs is None else self.pairs.joined(fresh)
            self._known.add(path)
        return 0 if self.pairs is None else len(self.pairs)


def noise_loss(
    model: Zero123, pairs: Pairs, batch: int, alphas: Tensor, generator: torch.Generator
) -> Tensor:
    """The weighted squared error of the predicted noise.

    Args:
        model: what is trained.
        pairs: where from.
        batch: how many; objects, their views, variants and times are drawn.
        alphas: [1000] cumulative products of the schedule.
        generator: of all that is drawn, on the pairs' device.
    """

    def draw(limit: int) -> Tensor:
        return torch.randint(0, limit, (batch,), generator=generator, device=generator.device)

    rows, view, variant = draw(len(pairs)), draw(pairs.turned.shape[1]), draw(VARIANTS)
    t = draw(len(alphas))
    x0, clean = pairs.turned[rows, view].float(), pairs.clean[rows, variant].float()
    picture = pairs.fronts[rows, variant].float() / 255
    told = (draw(1000) >= 1000 * ALONE).float()[:, None, None]
    alpha = alphas[t][:, None, None, None]
    noise = torch.randn(x0.shape, generator=generator, device=generator.device)
    noisy = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
    with quick_attention(generator.device), torch.autocast(generator.device.type, torch.bfloat16):
        token = model.token(picture, pairs.cameras[rows, view]) * told
        found = model(noisy, clean * told[..., None], t, token)
    weight = (1 / alpha).clamp(max=HEAVIEST)
    gap: Tensor = found.float() - noise
    return (weight * gap.square()).mean()


def quick_attention(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Plain matrix products on a CPU, where the fused kernel's backward pass is the slower one."""
    if device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()


def train(options: argparse.Namespace) -> None:
    """Train until the run's own time is up; the decay follows that clock."""
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    model = Zero123()
    model.initialise()
    model.to(device).unet.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    loop = Loop(options.run, model, optimizer, options.minutes, keep_every=100)
    vae = AutoencoderKL.from_pretrained(VAE, dtype=torch.float32).requires_grad_(False)
    shelf = Shelf(options.views, vae.to(device, memory_format=torch.channels_last))
    alphas = scheduler().alphas_cumprod.to(device)
    generator = torch.Generator(device).manual_seed(options.seed + loop.step)
    count = shelf.refresh()
    for _ in loop:
        if loop.step % 100 == 99:
            count = shelf.refresh()
        assert shelf.pairs is not None, "no shard yet"
        loss = noise_loss(model, shelf.pairs, options.batch, alphas, generator)
        loop.descend(loss)
        loop.log(20, loss=loss, objects=count)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("views", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    train(parser.parse_args())


if __name__ == "__main__":
    main()

"""Training of the small FLUX's VAE: diffusers' AutoencoderKL, factor 8, 16 latent channels.

``python -m miner.mini.training.vae DATA RUN --minutes 35`` resumes from RUN/last.pt if it is there.

Three things make colours survive: pixels of the object weigh four times, the error is also taken
after pooling, and the first three channels of the mean are tied to the picture averaged over 8 x 8
pixels. Noise on the latents makes the decoder forgive a flow that does not hit them exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from .dataset import load
from .loop import Loop
from .pictures import masks_of, paint_all

CHANNELS = (32, 32, 64, 64)
NOISE = 0.12
"""Noise on the latents in training, as a share of their standard deviation."""


def build() -> AutoencoderKL:
    """An untrained VAE of the preset's sizes."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=16,
        sample_size=64,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def losses(vae: AutoencoderKL, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Terms of the loss for pictures x [B,3,64,64] in [-1,1], pixel weights [B,1,64,64]."""
    posterior = vae.encode(x).latent_dist
    mean = posterior.mean.float()
    spread = mean.detach().std(dim=(0, 2, 3), keepdim=True)
    z = mean + NOISE * spread * torch.randn_like(mean)
    y = vae.decode(z.to(x.dtype)).sample.float()
    gap = y - x
    pooled = F.avg_pool2d(gap, 4)
    return {
        "l1": (gap.abs() * weight).mean(),
        "l2": 4 * (gap.square() * weight).mean(),
        "pooled": pooled.abs().mean(),
        "tie": 0.5 * (mean[:, :3] - F.avg_pool2d(x, 8)).abs().mean(),
        "size": 1e-4 * mean[:, 3:].square().mean(),
    }


@torch.no_grad()
def object_psnr(vae: nn.Module, pictures: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """PSNR in dB over all pixels and over those of the object."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.cat([vae.decode(vae.encode(p).latent_dist.mean).sample for p in x.split(32)])  # type: ignore[operator, no-untyped-call]
    squared = ((y.clamp(-1, 1) - x) / 2).square().mean(1)
    inside = squared[torch.from_numpy(masks)]
    return float(-10 * squared.mean().log10()), float(-10 * inside.mean().log10())


def train(data_folder: Path, run: Path, minutes: float, batch: int, rate: float, seed: int) -> None:
    """Train until ``minutes`` of this run's own time have passed; the decay follows that clock."""
    torch.manual_seed(seed)
    vae = build()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=rate, weight_decay=1e-3, betas=(0.9, 0.98))
    loop = Loop(run, vae, optimizer, minutes, 0.997, keep_every=500)
    pictures = paint_all(load(data_folder), seed)
    masks = masks_of(pictures)
    rng = np.random.default_rng(seed + loop.step)
    for _ in loop:
        rows = rng.integers(500, len(pictures), batch)
        x = torch.from_numpy(pictures[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
        weight = 1 + 3 * torch.from_numpy(masks[rows])[:, None].float()
        with torch.autocast("cpu", torch.bfloat16):
            terms = losses(vae, x, weight)
        loop.descend(torch.stack(list(terms.values())).sum())
        loop.log(100, **terms)
        if loop.step % 500 == 0:
            whole, inside = object_psnr(loop.average.module, pictures[:128], masks[:128])
            loop.log(500, psnr=whole, psnr_object=inside)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=35)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    train(o.data, o.run, o.minutes, o.batch, o.rate, o.seed)


if __name__ == "__main__":
    main()

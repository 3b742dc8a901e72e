"""Training of the small TripoSR, with direct supervision in space and no rendering.

``python -m miner.mini.training.triposr DATA RUN --minutes 60`` resumes from RUN/last.pt if there.

Loss: cross-entropy of the occupancy logit log(density / 25) against sigmoid(-sdf / WIDTH), and L1
of the colour at points near the surface. The picture is degraded as the stages before degrade it:
another crop, a shift, blur, noise, a gain on the object, a background that is not quite grey.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from miner.triposr.config import (
    BackboneConfig,
    DecoderConfig,
    TriplaneConfig,
    TripoSRConfig,
    UpsamplerConfig,
    VitConfig,
)
from miner.triposr.model import TripoSR

from .dataset import NEAR, Objects, load
from .loop import Loop

Forward = Callable[[TripoSR, Tensor, Tensor], tuple[Tensor, Tensor]]

THRESHOLD = 25.0
WIDTH = 0.012
"""Softness of the target's edge in native units: a fifth of a plane's cell."""
COLOR_REACH = 0.05
SIZE = 64


def mini_config() -> TripoSRConfig:
    """Sizes of the embedded preset's TripoSR: 2 million parameters."""
    return TripoSRConfig(
        cond_image_size=SIZE,
        vit=VitConfig(
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=384,
            patch_size=8,
            image_size=SIZE,
        ),
        tokenizer=TriplaneConfig(plane_size=8, num_channels=128),
        backbone=BackboneConfig(
            in_channels=128,
            num_attention_heads=4,
            attention_head_dim=32,
            num_layers=5,
            cross_attention_dim=128,
            feed_forward_mult=2,
        ),
        post_processor=UpsamplerConfig(
            in_channels=128, out_channels=24, kernel_size=8, stride=4, padding=2
        ),
        decoder=DecoderConfig(in_channels=72, n_neurons=64, n_hidden_layers=4),
    )


@torch.no_grad()
def initialise(model: TripoSR) -> None:
    """Start values with which the field crosses the isosurface at once.

    Library defaults leave the density so flat that nothing passes the threshold for minutes.
    """
    linears = [m for m in model.decoder.modules() if isinstance(m, nn.Linear)]
    for linear in linears:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    linears[-1].weight.mul_(0.1)
    linears[-1].bias[0] = math.log(THRESHOLD) - model.config.renderer.density_bias - 2
    config = model.config.post_processor
    overlaps = (config.kernel_size / config.stride) ** 2
    upsample = model.post_processor.upsample
    nn.init.normal_(upsample.weight, std=(config.in_channels * overlaps) ** -0.5)
    nn.init.normal_(model.tokenizer.embeddings, std=config.in_channels**-0.5)


def conditioning(rgba: Tensor, generator: torch.Generator) -> Tensor:
    """Degraded pictures [B,64,64,3] on about grey from RGBA uint8 [B,64,64,4]."""
    b = len(rgba)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape or (b, 1, 1, 1), generator=generator) * (high - low) + low

    picture = rgba.float().permute(0, 3, 1, 2) / 255
    picture[:, :3] *= picture[:, 3:]
    spared = torch.rand((b, 1, 1, 1), generator=generator) < 0.3  # as they would be at best
    ratio = torch.where(spared, 1.0, uniform(0.85, 1.1))[:, 0, 0, 0]
    shift = torch.where(spared[:, 0, 0], 0.0, uniform(-0.05, 0.05, b, 1, 2)[:, 0])
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / ratio
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [b, 4, SIZE, SIZE], align_corners=False)
    picture = F.grid_sample(picture, grid, align_corners=False)
    blurred = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, 1)
    picture = torch.lerp(picture, blurred, torch.where(spared, 0.0, uniform(0, 0.8)))
    alpha = picture[:, 3:]
    gain = torch.where(spared, 1.0, uniform(0.92, 1.08, b, 3, 1, 1))
    grey = torch.where(spared, 0.5, uniform(0.47, 0.53))
    noise = torch.randn(picture[:, :3].shape, generator=generator)
    level = torch.where(spared, 0.0, uniform(0, 0.08))
    rgb = picture[:, :3] * gain + grey * (1 - alpha) + noise * level * (0.2 + alpha)
    return rgb.clamp(0, 1).permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True)
class Batch:
    """What one step sees; P points an object.

    Attributes:
        rgb: [B,64,64,3] degraded pictures in [0,1].
        points: [B,P,3] native.
        sdf: [B,P] signed distances.
        colors: [B,P,3] lit colours in [0,1], -1 where there is no surface near.
    """

    rgb: Tensor
    points: Tensor
    sdf: Tensor
    colors: Tensor


@dataclass(frozen=True)
class Repainted:
    """Pictures [M,64,64,3] uint8 that the stages before made, and the object each belongs to."""

    rgb: np.ndarray
    where: dict[int, int]

    @classmethod
    def load(cls, path: Path) -> Repainted:
        """What ``repaint`` wrote."""
        with np.load(path) as file:
            return cls(file["rgb"], {int(row): i for i, row in enumerate(file["rows"])})


def make_batch(data: Objects, rows: np.ndarray, points: int, generator: torch.Generator) -> Batch:
    """A random batch of the objects ``rows`` with ``points`` points each, three quarters near."""
    near = torch.randint(0, NEAR, (points * 3 // 4,), generator=generator).numpy()
    far = torch.randint(NEAR, data.sdf.shape[1], (points - len(near),), generator=generator).numpy()
    columns = np.concatenate([near, far])
    colors = np.full((len(rows), points, 3), -1, np.float32)
    colors[:, : len(near)] = data.rgb[rows[:, None], near[None]] / np.float32(255)
    return Batch(
        conditioning(torch.from_numpy(data.rgba[rows]), generator),
        torch.from_numpy(data.points[rows[:, None], columns[None]]).float(),
        torch.from_numpy(data.sdf[rows[:, None], columns[None]]).float(),
        torch.from_numpy(colors),
    )


def forward(model: TripoSR, rgb: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Raw density and colour of a batch, in bfloat16 where that is safe.

    Attention goes through plain matrix products: on a CPU the fused kernel's backward pass takes
    more than twice as long in bfloat16 as in float32.
    """
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        return model.decode_points(model.encode(rgb).float(), points)


def loss_of(model: TripoSR, batch: Batch, run: Forward = forward) -> tuple[Tensor, Tensor]:
    """Occupancy and colour losses of a batch."""
    raw, color = (value.float() for value in run(model, batch.rgb, batch.points))
    logit = raw[..., 0] + model.config.renderer.density_bias - math.log(THRESHOLD)
    occupancy = F.binary_cross_entropy_with_logits(logit, torch.sigmoid(-batch.sdf / WIDTH))
    close = ((batch.sdf.abs() < COLOR_REACH) & (batch.colors[..., 0] >= 0))[..., None]
    gap = (torch.sigmoid(color) - batch.colors).abs() * close
    return occupancy, gap.sum() / (close.sum() * 3).clamp(min=1)


def mix_in(batch: Batch, rows: np.ndarray, repainted: Repainted, share: float) -> Batch:
    """The batch with a share of its pictures replaced by repainted ones of the same objects."""
    rgb = batch.rgb.clone()
    for i, row in enumerate(rows):
        at = repainted.where.get(int(row))
        if at is not None and torch.rand(()) < share:
            rgb[i] = torch.from_numpy(repainted.rgb[at]).float() / 255
    return replace(batch, rgb=rgb)


def train(
    data_folder: Path,
    run: Path,
    minutes: float,
    batch: int,
    rate: float,
    seed: int,
    repainted: Path | None = None,
) -> None:
    """Train until ``minutes`` of this run's own time have passed; the decay follows that clock."""
    torch.manual_seed(seed)
    model = TripoSR(mini_config())
    initialise(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    loop = Loop(run, model, optimizer, minutes)
    generator = torch.Generator().manual_seed(seed + loop.step)
    rng = np.random.default_rng(seed + loop.step)
    data = load(data_folder, skip=2)
    painted = Repainted.load(repainted) if repainted else None
    compiled: Forward = torch.compile(forward)
    for _ in loop:
        rows = rng.integers(0, len(data.rgba), batch)
        if painted:  # half of every batch are objects that have been repainted
            rows[: batch // 2] = rng.choice(list(painted.where), batch // 2)
        seen = make_batch(data, rows, 1536, generator)
        seen = mix_in(seen, rows, painted, 0.8) if painted else seen
        occupancy, color = loss_of(model, seen, compiled)
        loop.descend(occupancy + color)
        loop.log(50, occ=occupancy, color=color)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repainted", type=Path, help="what repaint wrote")
    o = parser.parse_args()
    train(o.data, o.run, o.minutes, o.batch, o.rate, o.seed, o.repainted)


if __name__ == "__main__":
    main()

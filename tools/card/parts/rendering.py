"""gsplat beside the rasteriser in plain torch: 40,000 Gaussians at the scorer's size."""

from __future__ import annotations

import torch

from miner.geometry.cameras import Camera
from miner.rendering import rasterize_cuda
from miner.rendering.rasterize import rasterize_torch
from tools.card.bench import Bench
from tools.card.outcome import Outcome

COUNT, TINY_COUNT = 40_000, 500
SIDE_PX, TINY_SIDE_PX = 518, 64
"""The scorer's views, and small ones."""


def run(bench: Bench, out: Outcome) -> None:
    """Whether its kernels are there, the milliseconds of a view and the difference."""
    count, side = (TINY_COUNT, TINY_SIDE_PX) if bench.tiny else (COUNT, SIDE_PX)
    noise = torch.Generator().manual_seed(0)

    def normal(width: int) -> torch.Tensor:
        return torch.randn(count, width, generator=noise)

    colours, opacities = torch.rand(count, 3, generator=noise), torch.rand(count, generator=noise)
    scales = torch.exp(0.3 * normal(3) - 5)
    cpu = (0.4 * normal(3), normal(4), scales, opacities, colours)
    means, quats, scales, opacities, colours = (one.to(bench.place) for one in cpu)
    values = means, quats, scales, opacities, colours
    camera = Camera.orbit(30.0, 15.0, 2.5, 49.1, side)
    with torch.no_grad():
        plain = bench.timed(lambda: rasterize_torch(*values, camera))
        out.add("plain torch, a view", plain * 1e3, "ms")
        there: list[bool] = []
        seconds = bench.once(lambda: there.append(rasterize_cuda.available()))
        out.add("gsplat is built", there[0])
        out.add("asked in", seconds, "s")
        if not there[0]:
            out.add("gsplat, a view", None, "ms")
            return
        found = rasterize_cuda.rasterize(*values, camera)[0]
        took = bench.timed(lambda: rasterize_cuda.rasterize(*values, camera))
        out.add("gsplat, a view", took * 1e3, "ms")
        difference = float((found - rasterize_torch(*values, camera)[0]).abs().mean())
        out.add("difference, mean", difference, "of 1")

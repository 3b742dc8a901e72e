"""How well a splat shows the field it was made from: measured, not judged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from miner.geometry.cameras import SCORER_FOV_Y_DEG, SCORER_RADIUS, Camera
from miner.geometry.gaussians import Gaussians
from miner.rendering.metrics import psnr
from miner.rendering.rasterize import render
from miner.triposr import TripoSR
from miner.triposr.surface import SurfaceReport
from miner.triposr.volume import render_rays, scene_to_native

SIZE_PX = 256
STRIDE = 2
"""Every second pixel of every second row is compared: each costs 128 questions to the field, and a
quarter of them gives the same figure."""
VIEWS_DEG = ((0.0, 15.0), (120.0, 15.0), (240.0, 15.0))
"""Azimuth and elevation of the views compared."""


@dataclass(frozen=True)
class Fidelity:
    """The splat's views against the field's own volume rendering, both on white.

    A field is soft where a splat is sharp, so that the figure says as much of the one as of the
    other; it compares recipes on the same field.

    Attributes:
        psnr_db: over all compared pixels of all views.
        psnr_by_view_db: for each of ``VIEWS_DEG``.
        size_px: side of the views.
    """

    psnr_db: float
    psnr_by_view_db: list[float]
    size_px: int


@torch.no_grad()
def compare(
    model: TripoSR,
    codes: Tensor,
    gaussians: Gaussians,
    surface: SurfaceReport,
    size_px: int = SIZE_PX,
) -> Fidelity:
    """Renders both from the same places and compares the pixels.

    Args:
        model: what made the codes.
        codes: [3,C,R,R].
        gaussians: made from the codes' field, in the scene frame.
        surface: the report that came with them; says where the field lies in the scene.
        size_px: side of the views.
    """
    field = model.field(codes)
    samples = model.config.renderer.num_samples_per_ray
    pairs = []
    for azimuth, elevation in VIEWS_DEG:
        camera = Camera.orbit(azimuth, elevation, SCORER_RADIUS, SCORER_FOV_Y_DEG, size_px)
        origins, directions = (
            rays[::STRIDE, ::STRIDE].reshape(-1, 3) for rays in camera.rays(codes.device)
        )
        truth = render_rays(
            field, surface.placement.to_native(origins), scene_to_native(directions), samples
        )
        splat = render(gaussians, camera, "white")[0][::STRIDE, ::STRIDE].reshape(-1, 3)
        pairs.append((splat.float().cpu().clamp(0, 1), truth.float().cpu()))
    ours, theirs = (torch.cat(pixels) for pixels in zip(*pairs, strict=True))
    return Fidelity(psnr(ours, theirs), [psnr(a, b) for a, b in pairs], size_px)

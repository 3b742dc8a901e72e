"""How well a splat shows the field it was made from: measured, not judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from miner.geometry.cameras import SCORER_FOV_Y_DEG, SCORER_RADIUS, Camera
from miner.geometry.gaussians import Gaussians
from miner.rendering.metrics import psnr
from miner.rendering.rasterize import render
from miner.triposr import TripoSR
from miner.triposr.placement import Placement
from miner.triposr.surface import SurfaceReport

SIZE_PX = 256
VIEWS_DEG = ((30.0, 15.0), (210.0, 15.0))
"""Azimuth and elevation of the views compared: all sides but the underside, in two views, because
a view of the field is eight million questions to it."""


@dataclass(frozen=True)
class Fidelity:
    """The splat's views against the field's own volume rendering, both on white.

    Attributes:
        psnr_db: over all pixels of all views.
        psnr_by_view_db: for each of ``VIEWS_DEG``.
        size_px: side of the views.
    """

    psnr_db: float
    psnr_by_view_db: list[float]
    size_px: int


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
    pairs = []
    for azimuth, elevation in VIEWS_DEG:
        camera = Camera.orbit(azimuth, elevation, SCORER_RADIUS, SCORER_FOV_Y_DEG, size_px)
        truth = model.render(codes, _in_native_units(camera, surface.placement)).float().cpu()
        pairs.append((render(gaussians, camera, "white")[0].clamp(0, 1).float().cpu(), truth))
    ours, theirs = (torch.stack(images) for images in zip(*pairs, strict=True))
    return Fidelity(psnr(ours, theirs), [psnr(a, b) for a, b in pairs], size_px)


def _in_native_units(camera: Camera, placement: Placement) -> Camera:
    """The camera that sees the unplaced field as ``camera`` sees the placed splat."""
    x, y, z = placement.center
    pose = camera.cam_to_world.clone()
    pose[:3, 3] = pose[:3, 3] / placement.scale + pose.new_tensor([y, z, x])
    return replace(camera, cam_to_world=pose)

"""Samples of a surface become flat Gaussians: how wide, how thick, how deep.

A disc in the tangent plane shows the surface as sharply as its spacing allows, from every side;
a ball of the same coverage is as thick as it is wide. Discs reach past what they stand for, and a
rasteriser widens all it draws by about a pixel, so a splat looks fatter than its surface. Two
measures against it: all centres lie a little beneath the surface, and discs are narrower where
the surface bends away from them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from miner.geometry.cameras import SCORER_FOV_Y_DEG, SCORER_RADIUS, SCORER_SIZE_PX
from miner.geometry.gaussians import Gaussians, from_activated
from miner.geometry.rotations import quats_from_normals, with_largest_w
from miner.triposr.blue_noise import Samples, nearest
from miner.triposr.placement import LONGEST_SIDE, Placement, turned_to_scene
from miner.triposr.surface_settings import SurfaceSettings

Array = NDArray[np.float32]

PIXEL = 2 * SCORER_RADIUS * math.tan(math.radians(SCORER_FOV_Y_DEG / 2)) / SCORER_SIZE_PX
"""Side of a pixel of the scorer's view, at the object, in scene units."""

_NARROWEST = 0.5
"""Of the usual width, at the sharpest edge; narrower discs would leave holes beside it."""


def flat_gaussians(
    samples: Samples, colors: Array, spacing: float, settings: SurfaceSettings
) -> tuple[Gaussians, Placement]:
    """One disc for each sample, own z axis along its normal.

    Args:
        samples: N, native, on the surface.
        colors: [N,3] in [0,1].
        spacing: native sqrt(area / N).
        settings: the recipe.

    Returns:
        The Gaussians in the scene frame, their centres' box in the middle and of the proper
        size; and the placement that brought them there.
    """
    longest = float(np.ptp(samples.points, axis=0).max())
    inset = settings.inset_px * PIXEL * longest / LONGEST_SIDE
    centers = samples.points - inset * samples.normals
    placement = Placement.around(centers)
    widths = settings.spread * spacing * placement.scale * narrowing(samples, spacing)
    scales = np.stack([widths, widths, settings.flatness * widths], axis=1)
    normals = torch.from_numpy(turned_to_scene(samples.normals))
    gaussians = from_activated(
        placement.to_scene(centers),
        scales,
        with_largest_w(quats_from_normals(normals)).numpy(),
        np.full(len(samples), settings.opacity, np.float32),
        colors,
    )
    return gaussians, placement


def narrowing(samples: Samples, spacing: float) -> Array:
    """[N] factors from ``_NARROWEST`` to 1: how far the surface falls off around each sample.

    One minus the mean depth of the neighbours beneath the tangent plane, in spacings; hollows,
    where they lie above, count as flat.
    """
    index = nearest(samples.points)
    offsets = samples.points[index] - samples.points[:, None]
    squared = np.einsum("nkd,nkd->nk", offsets, offsets)
    same_side = np.einsum("nkd,nd->nk", samples.normals[index], samples.normals) > -0.2
    weights = np.exp(-0.5 * squared / spacing**2) * same_side
    depths = -np.einsum("nkd,nd->nk", offsets, samples.normals)
    fall = (weights * depths).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-6)
    return np.asarray((1 - fall / spacing).clip(_NARROWEST, 1), np.float32)

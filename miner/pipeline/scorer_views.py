"""A splat as the subnet's scorer looks at it, or as few of its views as a CPU can afford.

The scorer scales a splat to a longest side of 1.5 and recentres it before it looks. What has passed
the quality gate is of that size and in that place already, so that nothing is scaled here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from miner.geometry.cameras import SCORER_VIEWS, Camera, scorer_cameras
from miner.geometry.gaussians import Gaussians
from miner.rendering.rasterize import render


def chosen_cameras(views: int, size_px: int) -> list[Camera]:
    """The scorer's cameras, or ``views`` of them spread evenly around, the front first.

    The scorer's last camera stands where its first one does; a choice never holds both.
    """
    every = scorer_cameras(size_px)
    if views >= SCORER_VIEWS:
        return every
    return [every[round(i * (SCORER_VIEWS - 1) / views)] for i in range(views)]


def thinned(gaussians: Gaussians, limit: int) -> Gaussians:
    """At most ``limit`` of the Gaussians, grown so that they cover the same area.

    For looking from afar: the outline and the colours stay, fine detail goes. A limit of 0 changes
    nothing. The choice is random and always the same.
    """
    count = len(gaussians)
    if not limit or count <= limit:
        return gaussians
    rows = np.sort(np.random.default_rng(0).choice(count, limit, replace=False))
    return Gaussians(
        means=gaussians.means[rows],
        log_scales=gaussians.log_scales[rows] + np.float32(0.5 * np.log(count / limit)),
        quats=gaussians.quats[rows],
        opacity_logits=gaussians.opacity_logits[rows],
        sh_dc=gaussians.sh_dc[rows],
        sh_rest=gaussians.sh_rest[rows],
    )


def look_at(gaussians: Gaussians, cameras: list[Camera], device: torch.device) -> Tensor:
    """Views [V,3,S,S] float32 in [0,1] on white."""
    return torch.stack(
        [render(gaussians, camera, "white", device)[0].permute(2, 0, 1) for camera in cameras]
    )

"""What the fit leaves becomes a splat that passes the validity gate."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from miner.dreamgaussian.densify import halve, prune
from miner.dreamgaussian.params import Cloud, Training, begin, to_gaussians
from miner.dreamgaussian.reference import STAGE
from miner.dreamgaussian.settings import OutputSettings
from miner.errors import BadOutput
from miner.geometry.gaussians import SH_C0, Gaussians
from miner.geometry.placement import center_and_scale, longest_side

NEIGHBOUR = 8
"""Which neighbour's distance says how lonely a Gaussian is: pairs of strays are strays too."""

LEAST_LEFT = 32
"""With fewer Gaussians left than these there is no object to speak of."""

SCALE_RANGE = (2e-4, 0.24)
"""Standard deviations in the delivered size, where one pixel of the scorer is about 0.004."""

COLOR_RANGE = (-0.05, 1.05)
"""Of the constant harmonic's RGB; beyond it nothing more is shown, and formats cut it."""


@torch.no_grad()
def finish(cloud: Cloud, settings: OutputSettings) -> Gaussians:
    """Useless Gaussians gone, enough of them, centred, of the delivered size, numbers in range.

    Raises:
        BadOutput: nothing is left, or what is left has no extent.
    """
    finite = torch.stack([t.reshape(len(cloud), -1).isfinite().all(1) for t in cloud.tensors()])
    training = begin(cloud.map(lambda tensor: tensor[finite.all(dim=0)].cpu()))
    training = prune(training, training.cloud.opacities < settings.prune_opacity)
    if len(training) < LEAST_LEFT:
        raise BadOutput(STAGE, f"{len(training)} Gaussians are left of the fit, of {len(cloud)}")
    training = prune(training, _strays(training.cloud.means, settings.stray_factor))
    side = float((training.cloud.means.amax(0) - training.cloud.means.amin(0)).max())
    training = prune(training, training.cloud.scales.amax(dim=-1) > settings.max_scale_share * side)
    if len(training) < LEAST_LEFT or side <= 0.0:
        raise BadOutput(STAGE, f"{len(training)} Gaussians are left of the fit, of {len(cloud)}")
    training = fill_up(training, settings.min_gaussians)
    return _in_range(center_and_scale(to_gaussians(training.cloud)))


def fill_up(training: Training, minimum: int) -> Training:
    """Halves the longest Gaussians until there are ``minimum`` of them."""
    while len(training) < minimum:
        wanted = min(minimum - len(training), len(training))
        sizes = training.cloud.log_scales.amax(dim=-1)
        rows = torch.zeros(len(training), dtype=torch.bool)
        rows[torch.argsort(sizes, descending=True, stable=True)[:wanted]] = True
        training = halve(training, rows)
    return training


def _strays(means: Tensor, factor: float) -> Tensor:
    """[N] bool: those whose neighbours are ``factor`` times as far away as the median's are."""
    if factor == 0.0 or len(means) <= NEIGHBOUR:
        return torch.zeros(len(means), dtype=torch.bool)
    points = means.numpy().astype(np.float64)
    distance = np.asarray(cKDTree(points).query(points, k=NEIGHBOUR + 1)[0])[:, -1]
    return torch.from_numpy(distance > factor * np.median(distance))


def _in_range(gaussians: Gaussians) -> Gaussians:
    if longest_side(gaussians) == 0.0:
        raise BadOutput(STAGE, "all Gaussians lie on one point")
    low, high = (math.log(scale) for scale in SCALE_RANGE)
    darkest, brightest = ((rgb - 0.5) / SH_C0 for rgb in COLOR_RANGE)
    return Gaussians(
        gaussians.means,
        gaussians.log_scales.clip(low, high).astype(np.float32),
        gaussians.quats,
        gaussians.opacity_logits,
        gaussians.sh_dc.clip(darkest, brightest).astype(np.float32),
        gaussians.sh_rest,
    )

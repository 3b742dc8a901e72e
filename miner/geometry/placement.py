"""Where a splat stands and how large it is: as the scorer puts it, and as we deliver it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from miner.geometry.gaussians import FloatArray, Gaussians

SCORER_LONGEST_SIDE = 1.5
"""Scene units to which the scorer scales the longest side of the box of the centres."""


def longest_side(gaussians: Gaussians) -> float:
    """Longest side of the axis-aligned box of the centres; 0 for fewer than two Gaussians."""
    return float(np.ptp(gaussians.means, axis=0).max()) if len(gaussians) else 0.0


def normalize_longest_side(gaussians: Gaussians, length: float = SCORER_LONGEST_SIDE) -> Gaussians:
    """What the scorer does to a splat before it renders it, with its two peculiarities.

    It scales by s = length / longest side, and moves the centres by *one* number, the mean over all
    coordinates, not one for each axis: what is not centred stays off centre. It also divides the
    opacities by s and cuts them at 1.

    Args:
        gaussians: finite; without any extent it comes back as it is.
        length: longest side of the box of the centres afterwards, > 0.
    """
    side = longest_side(gaussians)
    if side == 0.0:
        return gaussians
    scale = length / side
    middle = gaussians.means.mean(dtype=np.float64)
    return replace(
        gaussians,
        means=((gaussians.means - middle) * scale).astype(np.float32),
        log_scales=(gaussians.log_scales + np.log(scale)).astype(np.float32),
        opacity_logits=_divided_opacities(gaussians.opacity_logits, scale),
    )


def center_and_scale(gaussians: Gaussians, length: float = SCORER_LONGEST_SIDE) -> Gaussians:
    """The splat with the box of its centres around the origin on every axis, opacities untouched.

    Args:
        gaussians: finite; without any extent it is only moved.
        length: longest side of the box of the centres afterwards, > 0.
    """
    if not len(gaussians):
        return gaussians
    side = longest_side(gaussians)
    scale = length / side if side else 1.0
    low, high = gaussians.means.min(axis=0), gaussians.means.max(axis=0)
    return replace(
        gaussians,
        means=((gaussians.means - 0.5 * (low + high)) * scale).astype(np.float32),
        log_scales=(gaussians.log_scales + np.log(scale)).astype(np.float32),
    )


def _divided_opacities(logits: FloatArray, divisor: float) -> FloatArray:
    """Logits of min(1, opacity / divisor); an opacity of 1 becomes +infinity."""
    with np.errstate(over="ignore", divide="ignore"):
        opacities = np.minimum(1.0 / (1.0 + np.exp(-logits.astype(np.float64))) / divisor, 1.0)
        return (np.log(opacities) - np.log1p(-opacities)).astype(np.float32)

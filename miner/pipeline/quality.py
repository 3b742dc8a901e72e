"""The validity gate: nothing leaves the pipeline that a validator would score zero, or we would.

The subnet's rules: 7,000 Gaussians at least, at most 80 % of them all but invisible, not every
rotation the identity. Ours, because its scorer depends on them without asking: numbers that are
finite, rotations that are rotations, the object centred on every axis (the scorer recentres by one
scalar) with the longest side 1.5 (it divides opacities by 1.5 over that side), no Gaussian out of
proportion, colours that a file can hold. How good a valid splat looks is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from miner.errors import BadOutput
from miner.geometry.gaussians import FloatArray, Gaussians

STAGE: Final = "quality"

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class QualityLimits:
    """What is let through. Lengths are in scene units, shares from 0 to 1.

    Attributes:
        min_gaussians: the subnet refuses fewer.
        max_gaussians: the subnet's decoder refuses more.
        faint_opacity: an opacity under this counts as faint.
        max_faint_share: the subnet refuses a larger share of faint Gaussians.
        longest_side: of the axis-aligned box of the centres.
        side_tolerance: relative to ``longest_side``; quantised positions need some.
        center_tolerance: how far the box's middle may lie from the origin on any axis, relative to
            ``longest_side``.
        min_scale, max_scale: standard deviation along any own axis. The upper one is a sixth of
            the object: a Gaussian so long (three deviations to each side) spans all of it.
        color_range: of the constant harmonic's RGB; what SPZ can hold (``sh_dc`` within +-3.33).
    """

    min_gaussians: int = 7_000
    max_gaussians: int = 10_000_000
    faint_opacity: float = 0.001
    max_faint_share: float = 0.8
    longest_side: float = 1.5
    side_tolerance: float = 0.01
    center_tolerance: float = 0.01
    min_scale: float = 1e-6
    max_scale: float = 0.25
    color_range: tuple[float, float] = (-0.45, 1.45)


@dataclass(frozen=True)
class QualityReport:
    """Figures of a splat that passed; all plain numbers, ready for JSON.

    Attributes:
        gaussians: how many.
        sh_degree: 0 to 3.
        sides: of the box of the centres, along x, y, z.
        center: the box's middle.
        faint_share: share of opacities under ``QualityLimits.faint_opacity``.
        median_opacity: 0 to 1.
        turned_share: share of rotations other than the identity.
        scale_range: smallest and largest standard deviation along any own axis.
        color_range: smallest and largest channel of the constant harmonic's RGB.
    """

    gaussians: int
    sh_degree: int
    sides: Triple
    center: Triple
    faint_share: float
    median_opacity: float
    turned_share: float
    scale_range: tuple[float, float]
    color_range: tuple[float, float]


DEFAULT_LIMITS: Final = QualityLimits()


def check(gaussians: Gaussians, limits: QualityLimits = DEFAULT_LIMITS) -> QualityReport:
    """Measure a splat and let it pass.

    Args:
        gaussians: in the scene frame; opacity logits may be infinite, as a file gives them back.
        limits: what to hold it to.

    Raises:
        BadOutput: of the stage "quality"; names every rule broken, with its number and its limit.
    """
    if not len(gaussians):
        raise BadOutput(STAGE, f"0 Gaussians, under the minimum of {limits.min_gaussians:,}")
    unreal = list(_unreal_numbers(gaussians))
    if unreal:  # no other figure means anything then
        raise BadOutput(STAGE, "; ".join(unreal))
    report = _measure(gaussians, limits)
    faults = [*_subnet_faults(report, limits), *_own_faults(report, limits)]
    if faults:
        raise BadOutput(STAGE, "; ".join(faults))
    return report


def _unreal_numbers(gaussians: Gaussians) -> Iterator[str]:
    for name in ("means", "log_scales", "quats", "sh_dc", "sh_rest"):
        bad = int(np.count_nonzero(~np.isfinite(getattr(gaussians, name))))
        if bad:
            yield f"{bad:,} numbers of {name} are not finite, 0 may be"
    if bad := int(np.count_nonzero(np.isnan(gaussians.opacity_logits))):
        yield f"{bad:,} numbers of opacity_logits are NaN, 0 may be"
    if bad := int(np.count_nonzero(~gaussians.quats.any(axis=1))):
        yield f"{bad:,} rotations have zero length, 0 may have"


def _measure(gaussians: Gaussians, limits: QualityLimits) -> QualityReport:
    low = gaussians.means.min(axis=0).astype(np.float64)
    high = gaussians.means.max(axis=0).astype(np.float64)
    with np.errstate(over="ignore"):  # an opacity of 0, and a scale too large to be let through
        opacities = 1 / (1 + np.exp(-gaussians.opacity_logits))
        scales = np.exp(np.array(_range(gaussians.log_scales)))
    return QualityReport(
        gaussians=len(gaussians),
        sh_degree=gaussians.sh_degree,
        sides=_triple(high - low),
        center=_triple((high + low) / 2),
        faint_share=float(np.mean(opacities < limits.faint_opacity)),
        median_opacity=float(np.median(opacities)),
        turned_share=_turned_share(gaussians.quats),
        scale_range=(float(scales[0]), float(scales[1])),
        color_range=_range(gaussians.colors),
    )


def _turned_share(quats: FloatArray) -> float:
    """Share of ``wxyz`` quaternions that turn at all (by more than a ten-thousandth of a radian).

    The imaginary part is held against the real one, so neither length nor sign matters.
    """
    imaginary = np.abs(quats[:, 1:]).max(axis=1)
    return float(np.mean(imaginary > 5e-5 * np.abs(quats[:, 0])))


def _subnet_faults(report: QualityReport, limits: QualityLimits) -> Iterator[str]:
    if report.gaussians < limits.min_gaussians:
        yield f"{report.gaussians:,} Gaussians, under the minimum of {limits.min_gaussians:,}"
    if report.gaussians > limits.max_gaussians:
        yield f"{report.gaussians:,} Gaussians, over the maximum of {limits.max_gaussians:,}"
    if report.faint_share > limits.max_faint_share:
        yield (
            f"{report.faint_share:.1%} of the opacities are under {limits.faint_opacity:g}, "
            f"over the maximum of {limits.max_faint_share:.0%}"
        )
    if report.turned_share == 0:
        yield f"all {report.gaussians:,} rotations are the identity, at least 1 must not be"


def _own_faults(report: QualityReport, limits: QualityLimits) -> Iterator[str]:
    side = max(report.sides)
    slack = limits.side_tolerance * limits.longest_side
    if abs(side - limits.longest_side) > slack:
        yield f"the longest side is {side:.4g}, not {limits.longest_side:g} +-{slack:.2g}"
    slack = limits.center_tolerance * limits.longest_side
    for axis, middle in zip("xyz", report.center, strict=True):
        if abs(middle) > slack:
            yield f"the middle lies at {axis} = {middle:.4g}, not within +-{slack:.2g}"
    smallest, largest = report.scale_range
    if smallest < limits.min_scale:
        yield f"the smallest scale is {smallest:.3g}, under the minimum of {limits.min_scale:g}"
    if largest > limits.max_scale:
        yield f"the largest scale is {largest:.3g}, over the maximum of {limits.max_scale:g}"
    darkest, brightest = report.color_range
    if darkest < limits.color_range[0]:
        yield f"the lowest colour is {darkest:.3g}, under the minimum of {limits.color_range[0]:g}"
    if brightest > limits.color_range[1]:
        yield (
            f"the highest colour is {brightest:.3g}, over the maximum of {limits.color_range[1]:g}"
        )


def _range(values: FloatArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _triple(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Triple:
    x, y, z = values.tolist()
    return x, y, z

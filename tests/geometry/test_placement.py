from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miner.geometry.gaussians import Gaussians, from_activated
from miner.geometry.placement import center_and_scale, longest_side, normalize_longest_side


def _box(opacity: float = 0.6) -> Gaussians:
    means = np.array([[0, 0, 0], [4, 0, 0], [0, 2, 0], [0, 0, 1]], np.float32)
    quats = np.tile(np.float32([1, 0, 0, 0]), (4, 1))
    return from_activated(
        means, np.full((4, 3), 0.1), quats, np.full(4, opacity), np.full((4, 3), 0.5)
    )


def _opacities(gaussians: Gaussians) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-gaussians.opacity_logits.astype(np.float64)))


@pytest.mark.parametrize("length", [1.0, 1.5])
def test_scorer_scales_centres_and_sizes_together(length: float) -> None:
    """The longest side becomes the length, and the standard deviations keep their proportion."""
    placed = normalize_longest_side(_box(), length)
    assert longest_side(placed) == pytest.approx(length)
    np.testing.assert_allclose(np.exp(placed.log_scales), 0.1 * length / 4.0, rtol=1e-5)


def test_scorer_moves_by_one_number() -> None:
    """The mean over all coordinates is taken off every axis, so the box stays off centre."""
    placed = normalize_longest_side(_box(), 4.0)
    np.testing.assert_allclose(placed.means, _box().means - 7.0 / 12.0, atol=1e-6)


def test_scorer_divides_the_opacities() -> None:
    """Shrinking makes more opaque up to 1 (a logit of infinity), growing more transparent."""
    shrunk = normalize_longest_side(_box(0.2), 2.0)
    np.testing.assert_allclose(_opacities(shrunk), 0.4, rtol=1e-5)
    assert np.isposinf(normalize_longest_side(_box(0.6), 2.0).opacity_logits).all()
    grown = normalize_longest_side(_box(0.6), 8.0)
    np.testing.assert_allclose(_opacities(grown), 0.3, rtol=1e-5)


def test_extreme_logits_are_no_accident() -> None:
    """Opacities of exactly 0 and 1 go through without a warning and stay what they are."""
    logits = np.array([-np.inf, np.inf, -200.0, 200.0], np.float32)
    placed = normalize_longest_side(replace(_box(), opacity_logits=logits), 4.0)
    np.testing.assert_array_equal(_opacities(placed) > 0.5, [False, True, False, True])


def test_centering_treats_each_axis_alone() -> None:
    """center_and_scale puts the middle of the box at the origin and leaves opacities untouched."""
    placed = center_and_scale(_box(), 1.5)
    np.testing.assert_allclose(placed.means.min(0) + placed.means.max(0), 0.0, atol=1e-6)
    assert longest_side(placed) == pytest.approx(1.5)
    np.testing.assert_array_equal(placed.opacity_logits, _box().opacity_logits)


@pytest.mark.parametrize("count", [0, 1])
def test_without_extent_nothing_is_scaled(count: int) -> None:
    """No Gaussian, or a single one, has no side to scale: no division by zero."""
    few = Gaussians(*(getattr(_box(), name)[:count] for name in Gaussians.__dataclass_fields__))
    assert longest_side(few) == 0.0
    assert len(normalize_longest_side(few)) == count
    np.testing.assert_array_equal(center_and_scale(few).log_scales, few.log_scales)

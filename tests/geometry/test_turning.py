"""The half turn about X: every part of a splat turns, and nothing else changes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from miner.geometry.gaussians import SH_REST_COUNTS, Gaussians
from miner.geometry.harmonics import sh_to_rgb
from miner.geometry.rotations import quat_to_matrix
from miner.geometry.turning import half_turn_about_x

TURN = np.diag([1.0, -1.0, -1.0])


def drawn(degree: int = 0) -> Gaussians:
    """A hundred Gaussians of ordinary numbers."""
    rng = np.random.default_rng(degree)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    k = SH_REST_COUNTS[degree]
    return Gaussians(
        normal(100, 3), normal(100, 3), normal(100, 4), normal(100), normal(100, 3),
        normal(100, k, 3),
    )  # fmt: skip


def covariances(gaussians: Gaussians) -> np.ndarray:
    """[N,3,3] of the ellipsoids, in the scene's axes."""
    rotations = quat_to_matrix(torch.from_numpy(gaussians.quats).double()).numpy()
    axes = rotations * np.exp(gaussians.log_scales.astype(np.float64))[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def test_up_goes_down_and_the_front_to_the_back() -> None:
    """What was above (+Y) is below, what was in front (+Z) behind, left and right stay."""
    before = drawn()
    np.testing.assert_array_equal(half_turn_about_x(before).means, before.means @ TURN)


def test_the_ellipsoids_turn_along() -> None:
    """Each Gaussian's covariance is the old one seen in the turned axes."""
    before = drawn()
    after = half_turn_about_x(before)
    np.testing.assert_allclose(
        covariances(after), TURN @ covariances(before) @ TURN, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("degree", range(4))
def test_the_colours_turn_along(degree: int) -> None:
    """From a direction that is turned as well, every Gaussian has the colour that it had."""
    before = drawn(degree)
    after = half_turn_about_x(before)
    looking = torch.from_numpy(drawn(3).means).double()

    def colours(splat: Gaussians, directions: torch.Tensor) -> torch.Tensor:
        dc, rest = torch.from_numpy(splat.sh_dc), torch.from_numpy(splat.sh_rest)
        return sh_to_rgb(dc.double(), rest.double(), directions)

    turned = colours(after, looking @ torch.from_numpy(TURN))
    torch.testing.assert_close(turned, colours(before, looking))


@pytest.mark.parametrize("degree", [0, 3])
def test_two_half_turns_are_none(degree: int) -> None:
    """Turned twice, every number is what it was; a quaternion may have the other sign."""
    before = drawn(degree)
    after = half_turn_about_x(half_turn_about_x(before))
    for field in fields(Gaussians):
        if field.name != "quats":
            values = getattr(after, field.name)
            np.testing.assert_array_equal(values, getattr(before, field.name), field.name)
    np.testing.assert_array_equal(after.quats, -before.quats)

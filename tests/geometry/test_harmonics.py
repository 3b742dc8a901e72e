from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from miner.geometry.gaussians import SH_C0
from miner.geometry.harmonics import sh_basis, sh_to_rgb


def _directions(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return directions / directions.norm(dim=-1, keepdim=True)


def _real_harmonic(degree: int, order: int, directions: np.ndarray) -> np.ndarray:
    """Slow twin: scipy's complex harmonics (with the Condon-Shortley phase) made real."""
    polar = np.arccos(directions[:, 2])
    azimuth = np.arctan2(directions[:, 1], directions[:, 0])
    value = sph_harm_y(degree, abs(order), polar, azimuth)
    if order == 0:
        return value.real
    return np.sqrt(2) * (value.imag if order < 0 else value.real)


def test_basis_matches_scipy() -> None:
    """All 15 harmonics above the constant one are the textbook's, in order -l..l for each l.

    The tolerance is rounding only: both sides compute in float64.
    """
    directions = _directions(64)
    basis = sh_basis(directions, 3).numpy()
    orders = [(degree, order) for degree in (1, 2, 3) for order in range(-degree, degree + 1)]
    expected = [_real_harmonic(degree, order, directions.numpy()) for degree, order in orders]
    np.testing.assert_allclose(basis, np.stack(expected, axis=1), atol=1e-12)


@pytest.mark.parametrize(("degree", "count"), [(0, 0), (1, 3), (2, 8), (3, 15)])
def test_lower_degrees_are_prefixes(degree: int, count: int) -> None:
    """Degree d uses the first (d+1)^2-1 functions of degree 3."""
    directions = _directions(4)
    basis = sh_basis(directions, degree)
    assert basis.shape == (4, count)
    torch.testing.assert_close(basis, sh_basis(directions, 3)[:, :count])


def test_colour_of_degree_zero_is_the_same_from_everywhere() -> None:
    """Without higher coefficients the direction does not matter, not even a zero one."""
    dc = torch.tensor([[1.0, 0.0, -1.0]])
    rgb = sh_to_rgb(dc, torch.zeros(1, 0, 3), torch.zeros(1, 3))
    torch.testing.assert_close(rgb, 0.5 + SH_C0 * dc)


def test_colour_follows_the_direction_and_is_never_negative() -> None:
    """A coefficient on z lightens what is seen along +z, darkens it along -z, down to black."""
    rest = torch.zeros(2, 3, 3)
    rest[:, 1] = 2.0
    directions = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]])
    rgb = sh_to_rgb(torch.zeros(2, 3), rest, directions)
    assert (rgb[0] > 1.0).all()
    assert (rgb[1] == 0.0).all()

"""Specks beside an object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miner.triposr.islands import without_islands
from miner.triposr.isosurface import extract_mesh
from miner.triposr.surface import field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings
from tests.triposr.analytic import AnalyticField, sphere, stripes, union

SETTINGS = SurfaceSettings(resolution=64, base_resolution=32, count=7_000)
PAIR = AnalyticField(union(sphere(0.4), sphere(0.07, (0.0, 0.0, 0.7))), stripes)
"""A ball and a speck of three hundredths of its area."""


@pytest.mark.parametrize(("share", "parts"), [(0.0, 2), (0.01, 2), (0.05, 1)])
def test_parts_below_the_share_are_left_out(share: float, parts: int) -> None:
    """A part stays if it has the share of the area that is asked for, and goes if it has less."""
    mesh = without_islands(extract_mesh(PAIR, SETTINGS), share)

    assert (mesh.vertices[:, 2].max() > 0.6) == (parts == 2)
    assert mesh.faces.min() == 0 and mesh.faces.max() == len(mesh.vertices) - 1


def test_what_is_left_is_untouched() -> None:
    """Leaving a part out moves no vertex and turns no face of the others."""
    alone = extract_mesh(AnalyticField(sphere(0.4), stripes), SETTINGS)
    left = without_islands(extract_mesh(PAIR, SETTINGS), 0.05)

    np.testing.assert_array_equal(left.vertices[left.faces], alone.vertices[alone.faces])


def test_the_largest_part_always_stays() -> None:
    """Even a share that no part reaches leaves the largest one."""
    many = union(*(sphere(0.1, (x, y, 0.0)) for x in (-0.5, 0.0, 0.5) for y in (-0.5, 0.1, 0.5)))
    mesh = without_islands(extract_mesh(AnalyticField(many, stripes), SETTINGS), 0.5)

    assert len(mesh.faces) > 0


def test_a_speck_does_not_shrink_the_object() -> None:
    """Without its speck the ball itself fills the splat's box."""
    with_speck, _ = field_to_gaussians(PAIR, replace(SETTINGS, island_share=0.0))
    without, _ = field_to_gaussians(PAIR, replace(SETTINGS, island_share=0.05))

    assert np.ptp(without.means, axis=0).min() == pytest.approx(1.5, rel=0.02)
    assert np.ptp(with_speck.means, axis=0).min() < 1.2

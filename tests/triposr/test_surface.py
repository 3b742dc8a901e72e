"""The recipe from field to Gaussians: the rules of its result, and how it looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from miner.errors import BadOutput
from miner.geometry.cameras import SCORER_FOV_Y_DEG, SCORER_RADIUS, Camera, scorer_cameras
from miner.geometry.rotations import quat_to_matrix
from miner.pipeline.quality import check
from miner.rendering.metrics import psnr
from miner.rendering.rasterize import render
from miner.triposr.surface import field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings
from miner.triposr.volume import render_rays, scene_to_native
from tests.triposr.analytic import (
    AnalyticField,
    box,
    mug,
    picture,
    shell,
    sphere,
    stripes,
    test_object,
    union,
)

SMALL = SurfaceSettings(resolution=64, base_resolution=32, count=7_000)
MEDIUM = SurfaceSettings(resolution=128, base_resolution=32, count=40_000)


def _sharpness(field: AnalyticField, settings: SurfaceSettings, size: int = 256) -> float:
    """Mean PSNR in dB of two of the scorer's views against the object as it is."""
    gaussians, report = field_to_gaussians(field, settings)
    values = []
    for view in scorer_cameras(size)[1:8:6]:
        truth = picture(field, view, report.placement.to_native, samples=2)
        values.append(psnr(render(gaussians, view)[0], truth))
    return float(np.mean(values))


@pytest.mark.parametrize("count", [7_000, 12_345])
def test_result_passes_the_gate(count: int) -> None:
    """The splat has the count asked for, and every rule of the validity gate holds."""
    gaussians, _ = field_to_gaussians(test_object(), replace(SMALL, count=count))

    report = check(gaussians)

    assert report.gaussians == count
    assert max(report.sides) == pytest.approx(1.5, abs=1e-5)
    np.testing.assert_allclose(report.center, 0, atol=1e-5)


def test_same_seed_same_splat() -> None:
    """The result depends on the field, the settings and the seed, and on nothing else."""
    first, _ = field_to_gaussians(test_object(), SMALL, seed=3)
    again, _ = field_to_gaussians(test_object(), SMALL, seed=3)
    other, _ = field_to_gaussians(test_object(), SMALL, seed=4)

    np.testing.assert_array_equal(first.means, again.means)
    np.testing.assert_array_equal(first.quats, again.quats)
    assert not np.array_equal(first.means, other.means)


def test_native_axes_become_scene_axes() -> None:
    """Native x (to the camera), y (right), z (up) become scene Z, X, Y."""
    field = AnalyticField(box((0.6, 0.1, 0.3), (0.1, -0.2, 0.3)))
    gaussians, report = field_to_gaussians(field, SMALL)

    sides = np.ptp(gaussians.means, axis=0)
    np.testing.assert_allclose(sides / sides[2], [1 / 6, 1 / 2, 1], atol=0.02)
    np.testing.assert_allclose(report.placement.center, (0.1, -0.2, 0.3), atol=0.01)


def test_discs_lie_flat_beneath_the_surface() -> None:
    """Own z is the short axis and lies along the normal; centres lie an inset below."""
    gaussians, report = field_to_gaussians(AnalyticField(sphere(0.5)), SMALL)
    radii = np.linalg.norm(gaussians.means, axis=1)
    outwards = gaussians.means / radii[:, None]
    own_z = quat_to_matrix(torch.from_numpy(gaussians.quats))[:, :, 2].numpy()

    assert (np.abs(np.einsum("nd,nd->n", own_z, outwards)) > 0.995).all()
    np.testing.assert_allclose(gaussians.log_scales[:, 0], gaussians.log_scales[:, 1])
    assert (gaussians.log_scales[:, 2] < gaussians.log_scales[:, 0] - 2).all()
    np.testing.assert_allclose(radii, 0.75, atol=2e-3)
    assert 0.5 * report.placement.scale > 0.75  # the true surface is outside the centres


def test_newton_steps_reach_the_isosurface() -> None:
    """Without an inset, centres are within a fiftieth of a voxel of a smooth surface."""
    field = AnalyticField(sphere(0.5))
    gaussians, report = field_to_gaussians(field, replace(SMALL, inset_px=0.0))
    native = report.placement.to_native(torch.from_numpy(gaussians.means))
    assert field.distance(native).abs().max() < 0.02 * (2 * 0.87 / 64)


def test_colors_are_those_of_the_surface() -> None:
    """Each Gaussian has the field's colour at the surface above it, not at its sunken centre."""
    gaussians, report = field_to_gaussians(test_object(), replace(SMALL, inset_px=0.0))
    native = report.placement.to_native(torch.from_numpy(gaussians.means))
    np.testing.assert_allclose(gaussians.colors, stripes(native).numpy(), atol=1e-3)


def test_buried_shells_are_left_out() -> None:
    """Surfaces inside a closed shell, its own inner side too, get no Gaussian; the count holds."""
    shells = AnalyticField(union(shell(sphere(0.6), 0.08), sphere(0.3)))
    gaussians, report = field_to_gaussians(shells, replace(SMALL, count=10_000))
    radii = np.linalg.norm(gaussians.means, axis=1)

    assert len(gaussians) == 10_000
    assert radii.min() > 0.7
    buried = 0.56**2 + 0.3**2
    assert report.hidden_fraction == pytest.approx(buried / (buried + 0.64**2), abs=0.02)


def test_inside_of_a_mug_is_kept() -> None:
    """The floor and the walls that are seen through an opening keep their share of samples."""
    gaussians, report = field_to_gaussians(AnalyticField(mug()), replace(SMALL, count=20_000))
    native = report.placement.to_native(torch.from_numpy(gaussians.means)).numpy()
    from_axis = np.linalg.norm(native[:, :2], axis=1)
    floor = (from_axis < 0.3) & (np.abs(native[:, 2] + 0.39) < 0.03)
    wall = (np.abs(from_axis - 0.34) < 0.02) & (np.abs(native[:, 2]) < 0.35)

    density = len(gaussians) / (report.area / report.placement.scale**2)
    assert floor.sum() == pytest.approx(density * np.pi * 0.3**2, rel=0.1)
    assert wall.sum() == pytest.approx(density * 2 * np.pi * 0.34 * 0.7, rel=0.1)
    assert report.hidden_fraction < 0.02


def test_a_speck_is_enough() -> None:
    """An object of a few voxels becomes a splat like any other."""
    gaussians, _ = field_to_gaussians(AnalyticField(sphere(0.03, (0.2, 0.1, -0.3))), SMALL)
    assert check(gaussians).gaussians == 7_000


def test_object_that_leaves_the_box() -> None:
    """The cut faces are covered too, and no Gaussian lies outside the box."""
    field = AnalyticField(box((2.0, 0.3, 0.3)))
    gaussians, report = field_to_gaussians(field, SMALL)
    native = report.placement.to_native(torch.from_numpy(gaussians.means)).numpy()

    assert np.abs(native).max() <= 0.87
    cut = np.abs(native[:, 0]) > 0.87 - 2 * (2 * 0.87 / 64)
    assert (np.linalg.norm(native[cut][:, 1:], axis=1) < 0.2).sum() > 200


def test_no_surface_is_bad_output() -> None:
    """A field below the threshold everywhere is an error of the stage."""
    with pytest.raises(BadOutput):
        field_to_gaussians(AnalyticField(sphere(0.1, (9.0, 0.0, 0.0))), SMALL)


@pytest.mark.parametrize("shape", ["test object", "mug", "cube"])
def test_views_look_like_the_object(shape: str) -> None:
    """With 40,000 Gaussians, views of 256 pixels reach 31 dB against the exact picture."""
    fields = {
        "test object": test_object(),
        "mug": AnalyticField(mug(), stripes),
        "cube": AnalyticField(box((0.4, 0.4, 0.4)), stripes),
    }
    assert _sharpness(fields[shape], MEDIUM) >= 31.0


def test_views_look_like_the_volume_rendering() -> None:
    """The same against the field's own volume rendering, where its density is a sharp step."""
    field = replace(test_object(), softness=0.002)
    gaussians, report = field_to_gaussians(field, MEDIUM)
    camera = Camera.orbit(30.0, 20.0, SCORER_RADIUS, SCORER_FOV_Y_DEG, 256)
    origins, directions = (rays.reshape(-1, 3) for rays in camera.rays())
    volume = render_rays(
        field, report.placement.to_native(origins), scene_to_native(directions), samples=256
    )

    assert psnr(render(gaussians, camera)[0], volume.reshape(256, 256, 3)) >= 31.0


def test_flat_oriented_discs_beat_balls() -> None:
    """The recipe is worth at least 5 dB over balls of the same count without an inset."""
    discs = replace(SMALL, count=20_000)
    balls = replace(discs, flatness=1.0, inset_px=0.0)
    assert _sharpness(test_object(), discs, 192) > _sharpness(test_object(), balls, 192) + 5.0

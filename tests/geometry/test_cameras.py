from __future__ import annotations

import math

import pytest
import torch

from miner.errors import BadOption
from miner.geometry.cameras import SCORER_ELEVATION_DEG, Camera, orbit, scorer_cameras


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position"),
    [(0, 0, (0, 0, 2)), (90, 0, (2, 0, 0)), (180, 0, (0, 0, -2)), (270, 0, (-2, 0, 0)),
     (0, 90, (0, 2, 0)), (0, -90, (0, -2, 0))],
)  # fmt: skip
def test_orbit_stands_where_its_angles_say(
    azimuth: float, elevation: float, position: tuple[float, float, float]
) -> None:
    """Azimuth 0 looks from +Z, 90 from +X, and a positive elevation is above."""
    camera = orbit(azimuth, elevation, 2.0, 49.1, 8)
    expected = torch.tensor(position, dtype=torch.float64)
    torch.testing.assert_close(camera.position, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("azimuth", [0.0, 33.0, 90.0, 200.0, -45.0])
@pytest.mark.parametrize("elevation", [-90.0, -20.0, 0.0, 15.0, 90.0])
def test_orbit_is_rigid_and_keeps_the_origin_in_the_middle(
    azimuth: float, elevation: float
) -> None:
    """The matrix is a proper rotation, also at the poles, and the origin lies straight ahead."""
    camera = Camera.orbit(azimuth, elevation, 2.5, 49.1, 8)
    rotation = camera.cam_to_world[:3, :3]
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(rotation).item() == pytest.approx(1.0)
    origin = camera.world_to_cam @ torch.tensor([0, 0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(origin, torch.tensor([0, 0, 2.5, 1], dtype=torch.float64))


def test_up_is_up_and_right_is_right() -> None:
    """Seen from the front, +Y appears at the top of the picture and +X on the right."""
    camera = Camera.orbit(0.0, 10.0, 3.0, 49.1, 100)
    for point, axis, sign in (((0, 0.5, 0), 1, -1), ((0.5, 0, 0), 0, 1)):
        homogeneous = torch.tensor([*point, 1.0], dtype=torch.float64)
        pixel = camera.K @ (camera.world_to_cam @ homogeneous)[:3]
        assert sign * (pixel[axis] / pixel[2] - 50.0) > 1.0


def test_field_of_view_spans_the_picture() -> None:
    """A point half the field of view above the axis lands on the upper edge."""
    camera = Camera.orbit(0.0, 0.0, 1.0, 60.0, 64)
    point = torch.tensor([0.0, math.tan(math.radians(30.0)), 0.0, 1.0], dtype=torch.float64)
    pixel = camera.K @ (camera.world_to_cam @ point)[:3]
    assert (pixel[1] / pixel[2]).item() == pytest.approx(0.0, abs=1e-9)


def test_rays_pass_through_the_pixel_centres() -> None:
    """A point on the ray of a pixel projects to that pixel's centre, in non-square pictures too."""
    camera = Camera(Camera.orbit(30.0, 20.0, 2.0, 50.0, 6).cam_to_world, 50.0, width=9, height=6)
    origins, directions = camera.rays(dtype=torch.float64)
    assert origins.shape == directions.shape == (6, 9, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(6, 9, dtype=torch.float64))
    points = origins + 1.7 * directions
    seen = points @ camera.world_to_cam[:3, :3].T + camera.world_to_cam[:3, 3]
    pixels = seen @ camera.K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    expected = torch.stack([columns, rows], dim=-1).double() + 0.5
    torch.testing.assert_close(pixels, expected)


def test_scorer_cameras_are_the_scorers() -> None:
    """16 views, 24 degrees apart, the first repeated, where the scorer's formula puts them."""
    cameras = scorer_cameras()
    assert len(cameras) == 16
    assert {(camera.width, camera.height) for camera in cameras} == {(518, 518)}
    for index, camera in enumerate(cameras):
        azimuth, elevation = math.radians(24.0 * index), math.radians(-SCORER_ELEVATION_DEG)
        x = 2.5 * math.cos(elevation) * math.sin(azimuth)
        z = 2.5 * math.cos(elevation) * math.cos(azimuth)
        expected = torch.tensor([x, -2.5 * math.sin(elevation), z], dtype=torch.float64)
        torch.testing.assert_close(camera.position, expected)
    assert cameras[0].position[1].item() == pytest.approx(0.647, abs=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        (math.nan, 0, 2, 49, 8),
        (math.inf, 0, 2, 49, 8),
        (0, 91, 2, 49, 8),
        (0, math.nan, 2, 49, 8),
        (0, 0, 0, 49, 8),
        (0, 0, math.inf, 49, 8),
        (0, 0, 2, 0, 8),
        (0, 0, 2, 180, 8),
        (0, 0, 2, 49, 0),
        (0, 0, 2, 49, 100_000),
    ],
)
def test_orbit_refuses_impossible_numbers(
    arguments: tuple[float, float, float, float, int],
) -> None:
    """A number out of its range is the caller's mistake and is named."""
    with pytest.raises(BadOption):
        Camera.orbit(*arguments)

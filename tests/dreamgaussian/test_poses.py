from __future__ import annotations

import math

import torch

from miner.dreamgaussian.poses import (
    Pose,
    camera_matrices,
    draw_poses,
    reference_pose,
    relative_angles,
)
from miner.dreamgaussian.settings import ViewSettings


def test_groups_stand_evenly_around() -> None:
    """A group of four shares an elevation within the range and stands 90 degrees apart."""
    views = ViewSettings(batch_size=2, min_elevation=-10, max_elevation=20)
    poses = draw_poses(views, 4, torch.Generator().manual_seed(0))
    assert len(poses) == 8
    for first in (0, 4):
        group = poses[first : first + 4]
        assert len({pose.elevation_deg for pose in group}) == 1
        assert -10 <= group[0].elevation_deg <= 20
        turns = [pose.azimuth_deg - group[0].azimuth_deg for pose in group]
        assert turns == [0, 90, 180, 270]


def test_drawing_is_the_seed_s() -> None:
    """Equal seeds give equal poses, others others."""
    views = ViewSettings()
    one, same, other = (
        draw_poses(views, 1, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_zero123_is_told_the_way_from_the_picture() -> None:
    """Further down is positive, to the right is positive, the same distance is zero."""
    reference = reference_pose(ViewSettings(reference_elevation=10.0))
    numbers = relative_angles([reference, Pose(90.0, -20.0, 2.5)], reference)
    expected = torch.tensor([[0, 0, 1, 0], [math.radians(30.0), 1, 0, 0.5]])
    torch.testing.assert_close(numbers, expected, atol=1e-6, rtol=0)


def test_mvdream_is_told_cameras_in_its_own_frame() -> None:
    """From the front the camera stands at -Y of a frame whose Z is up, looks along +Y with +X to
    the right, and the position lies on the unit sphere.
    """
    matrix = camera_matrices([Pose(0.0, 0.0, 3.5)]).reshape(4, 4)
    right, up, back, position = matrix.T[:, :3]
    torch.testing.assert_close(right, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(up, torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(back, torch.tensor([0.0, -1.0, 0.0]))
    torch.testing.assert_close(position, torch.tensor([0.0, -1.0, 0.0]))

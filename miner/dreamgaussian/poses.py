"""From where the guidance looks: drawing poses, and the numbers that models want of them.

Azimuth and elevation are those of ``geometry.cameras``: 0 looks at the front, 90 from +X, positive
elevations look down from above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.dreamgaussian.settings import ViewSettings
from miner.geometry.cameras import Camera

_LIMIT_DEG = 89.0
"""Views from straight above or below say nothing about which side is up."""


@dataclass(frozen=True)
class Pose:
    """A place on a sphere around the object, looking at its middle.

    Attributes:
        azimuth_deg, elevation_deg: degrees.
        radius: distance from the origin in scene units.
    """

    azimuth_deg: float
    elevation_deg: float
    radius: float

    def camera(self, fovy: float, size: int) -> Camera:
        """A square camera there."""
        return Camera.orbit(self.azimuth_deg, self.elevation_deg, self.radius, fovy, size)


def reference_pose(views: ViewSettings, azimuth_deg: float = 0.0) -> Pose:
    """Where the picture was taken from, turned by the azimuth."""
    return Pose(azimuth_deg, views.reference_elevation, views.radius)


def draw_poses(views: ViewSettings, group: int, generator: torch.Generator) -> list[Pose]:
    """``batch_size`` random poses, each with ``group - 1`` more evenly around the object."""
    poses = []
    for _ in range(views.batch_size):
        first, second = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        azimuth = 360.0 * first - 180.0
        spread = views.max_elevation - views.min_elevation
        elevation = views.reference_elevation + views.min_elevation + spread * second
        elevation = min(max(elevation, -_LIMIT_DEG), _LIMIT_DEG)
        poses += [Pose(azimuth + 360.0 * i / group, elevation, views.radius) for i in range(group)]
    return poses


def relative_angles(poses: Sequence[Pose], reference: Pose) -> Tensor:
    """[V,4] float32: how zero123 says where a view lies from the picture it is given.

    Its numbers are the change in the angle from the vertical in radians (positive: further down),
    sine and cosine of the change in azimuth (positive: to the right, towards +X from the front),
    and the change in radius.
    """
    rows = []
    for pose in poses:
        turn = math.radians(pose.azimuth_deg - reference.azimuth_deg)
        down = math.radians(reference.elevation_deg - pose.elevation_deg)
        rows.append([down, math.sin(turn), math.cos(turn), pose.radius - reference.radius])
    return torch.tensor(rows, dtype=torch.float32)


def camera_matrices(poses: Sequence[Pose]) -> Tensor:
    """[V,16] float32: how MVDream says where a view lies.

    The camera's matrix with axes right, up, backwards and the position on the unit sphere, in a
    scene whose vertical axis is Z (ours is Y): (x, y, z) becomes (x, -z, y).
    """
    to_z_up = torch.tensor([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]).double()
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).double()
    matrices = []
    for pose in poses:
        matrix = to_z_up @ pose.camera(45.0, 16).cam_to_world @ flip
        matrix[:3, 3] /= matrix[:3, 3].norm()
        matrices.append(matrix.flatten())
    return torch.stack(matrices).float()

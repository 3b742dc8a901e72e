"""Pinhole cameras around the object: matrices for a rasteriser, rays for a volume renderer.

Scene frame: right-handed, +Y up, the front of the object faces +Z. Camera axes follow OpenCV, which
is what gsplat's ``viewmats`` expect: x to the right, y down, z forwards, depth positive in front.
Pixels are square, the principal point is the middle of the picture, and the centre of the pixel in
row i, column j lies at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.errors import BadOption

SCORER_VIEWS = 16
"""Views the subnet's scorer renders, azimuths linspace(0, 360, 16): the first and last coincide."""

SCORER_ELEVATION_DEG = 15.0
"""Its cameras look down from above (it writes -15 in a frame whose elevation is negated)."""

SCORER_RADIUS = 2.5
SCORER_FOV_Y_DEG = 49.1
SCORER_SIZE_PX = 518
"""37 patches of 14 pixels, the input of the scorer's image encoder."""

MAX_SIZE_PX = 8192
"""Limit on the side of a picture: a mistyped size must not exhaust the memory."""


@dataclass(frozen=True, eq=False)
class Camera:
    """One pinhole camera.

    Attributes:
        cam_to_world: [4,4] float64 on the CPU, rigid; columns right, down, forward, position.
        fov_y_deg: vertical field of view in degrees.
        width: columns of the picture in pixels.
        height: rows of the picture in pixels.
    """

    cam_to_world: Tensor
    fov_y_deg: float
    width: int
    height: int

    @classmethod
    def orbit(
        cls, azimuth_deg: float, elevation_deg: float, radius: float, fov_y_deg: float, size: int
    ) -> Camera:
        """A square camera on a sphere around the origin, looking at the origin with +Y upwards.

        Args:
            azimuth_deg: 0 looks from +Z (the front), 90 from +X; any finite number of degrees.
            elevation_deg: -90 to 90, positive above the object; the poles are well defined.
            radius: distance from the origin in scene units, > 0.
            fov_y_deg: vertical field of view in degrees, between 0 and 180.
            size: width and height in pixels.

        Raises:
            BadOption: a number is out of its range.
        """
        _check_orbit(azimuth_deg, elevation_deg, radius, fov_y_deg, size)
        azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
        # From angles, not from a cross product with "up", so that the poles need no special case.
        right = torch.tensor([math.cos(azimuth), 0.0, -math.sin(azimuth)], dtype=torch.float64)
        outward = torch.tensor(
            [
                math.cos(elevation) * math.sin(azimuth),
                math.sin(elevation),
                math.cos(elevation) * math.cos(azimuth),
            ],
            dtype=torch.float64,
        )
        down = torch.linalg.cross(-outward, right)
        cam_to_world = torch.eye(4, dtype=torch.float64)
        cam_to_world[:3] = torch.stack([right, down, -outward, radius * outward], dim=1)
        return cls(cam_to_world, fov_y_deg, size, size)

    @property
    def world_to_cam(self) -> Tensor:
        """[4,4] float64, the inverse of ``cam_to_world``; gsplat calls it a viewmat."""
        rotation = self.cam_to_world[:3, :3].T
        inverse = torch.eye(4, dtype=torch.float64)
        inverse[:3, :3] = rotation
        inverse[:3, 3] = -rotation @ self.cam_to_world[:3, 3]
        return inverse

    @property
    def position(self) -> Tensor:
        """[3] float64, the centre of projection in the scene frame."""
        return self.cam_to_world[:3, 3]

    @property
    def focal_px(self) -> float:
        """Focal length in pixels, the same for both axes."""
        return 0.5 * self.height / math.tan(0.5 * math.radians(self.fov_y_deg))

    @property
    def K(self) -> Tensor:
        """[3,3] float64 intrinsics: camera coordinates to homogeneous pixel coordinates."""
        f = self.focal_px
        rows = [[f, 0.0, 0.5 * self.width], [0.0, f, 0.5 * self.height], [0.0, 0.0, 1.0]]
        return torch.tensor(rows, dtype=torch.float64)

    def rays(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """One ray through every pixel centre, in the scene frame.

        Returns:
            origins [H,W,3] (``position``, expanded) and directions [H,W,3] of length 1.
        """
        rows = torch.arange(self.height, dtype=torch.float64) + 0.5
        columns = torch.arange(self.width, dtype=torch.float64) + 0.5
        v, u = torch.meshgrid(rows, columns, indexing="ij")
        x = (u - 0.5 * self.width) / self.focal_px
        y = (v - 0.5 * self.height) / self.focal_px
        directions = torch.stack([x, y, torch.ones_like(x)], dim=-1)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        directions = (directions @ self.cam_to_world[:3, :3].T).to(device, dtype)
        return self.position.to(device, dtype).expand_as(directions), directions


def orbit(
    azimuth_deg: float, elevation_deg: float, radius: float, fov_y_deg: float, size: int
) -> Camera:
    """The same as ``Camera.orbit``."""
    return Camera.orbit(azimuth_deg, elevation_deg, radius, fov_y_deg, size)


def scorer_cameras(size: int = SCORER_SIZE_PX, views: int = SCORER_VIEWS) -> list[Camera]:
    """The cameras of the subnet's scorer; smaller ``size`` and ``views`` for a quick look."""
    azimuths = torch.linspace(0.0, 360.0, views, dtype=torch.float64).tolist()
    return [
        Camera.orbit(azimuth, SCORER_ELEVATION_DEG, SCORER_RADIUS, SCORER_FOV_Y_DEG, size)
        for azimuth in azimuths
    ]


def _check_orbit(
    azimuth_deg: float, elevation_deg: float, radius: float, fov_y_deg: float, size: int
) -> None:
    if not math.isfinite(azimuth_deg):
        raise BadOption(f"azimuth {azimuth_deg} is not a number of degrees")
    if not -90.0 <= elevation_deg <= 90.0:
        raise BadOption(f"elevation {elevation_deg} is not between -90 and 90 degrees")
    if not (math.isfinite(radius) and radius > 0.0):
        raise BadOption(f"radius {radius} is not a positive number")
    if not 0.0 < fov_y_deg < 180.0:
        raise BadOption(f"field of view {fov_y_deg} is not between 0 and 180 degrees")
    if not 1 <= size <= MAX_SIZE_PX:
        raise BadOption(f"picture size {size} is not between 1 and {MAX_SIZE_PX} pixels")

"""A field seen as a level set: positive inside the object, negative outside, zero on its surface.

The level is log(density / threshold). TripoSR's density is the exponential of what the network puts
out, so its logarithm is close to linear across the surface and Newton steps converge at once, where
on the density itself they overshoot. The object is cut off just inside the box, so that a surface
which touches the box still closes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from miner.triposr.field import Field

_WALL_SLOPE = 8.0
"""Fall of the level per voxel towards the wall of the box: steep, so that the wall hardly bends
what is near it, and finite, so that Newton steps work on it too."""

_TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
"""Four directions that sum to zero and whose outer products sum to 4 times the identity: the fewest
points that give value and gradient to second order."""


class LevelSet:
    """log(density / threshold) within the box; counts the points that it asks the field for.

    Attributes:
        points: how many points were asked for so far.
        half_side: of the cube that the object is cut off at, half a voxel inside the box.
    """

    def __init__(self, field: Field, threshold: float, voxel: float) -> None:
        """Of ``field``, for a grid whose cells have the side ``voxel``."""
        self.points = 0
        self.half_side = field.radius - 0.5 * voxel
        self._field = field
        self._threshold = threshold
        self._voxel = voxel

    @property
    def device(self) -> torch.device:
        """Where points are expected."""
        return self._field.device

    @property
    def radius(self) -> float:
        """Half the side of the box."""
        return self._field.radius

    def __call__(self, xyz: Tensor) -> Tensor:
        """[N] levels at ``xyz`` [N,3] float32, always finite."""
        self.points += len(xyz)
        radius = self.radius
        with torch.no_grad():
            density = self._field.density(xyz.clamp(-radius, radius)).reshape(-1).float()
            tiny, huge = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
            level = torch.log(density.clamp(tiny, huge) / self._threshold)
            depth = self.half_side - xyz.abs().amax(dim=1)
            return torch.minimum(level, depth * (_WALL_SLOPE / self._voxel))

    def with_gradient(self, xyz: Tensor, reach: float) -> tuple[Tensor, Tensor]:
        """Levels [N] and their gradients [N,3] by finite differences on a small tetrahedron.

        Differences need nothing of the field but values, cost four queries, and with ``reach`` of
        about half a voxel they look past the creases that bilinear interpolation leaves in a
        triplane field, where the exact derivative jumps.

        Args:
            xyz: [N,3] float32.
            reach: half the edge of the cube whose corners the tetrahedron uses.
        """
        offsets = torch.tensor(_TETRAHEDRON, device=xyz.device) * reach
        corners = self((xyz[None] + offsets[:, None]).reshape(-1, 3)).reshape(4, -1)
        gradient = torch.einsum("kn,kd->nd", corners, offsets) / (4 * reach * reach)
        return corners.mean(dim=0), gradient

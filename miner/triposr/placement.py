"""Where a field's native frame lies in the scene: turned, centred, scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from miner.triposr.volume import scene_to_native

Array = NDArray[np.float32]

LONGEST_SIDE = 1.5
"""Of the box around the centres: the size to which the subnet's scorer brings every splat, and
below which it fades it."""

_SCENE_AXES = (1, 2, 0)
"""Native x to the camera, y right, z up; scene X right, Y up, Z to the camera."""


@dataclass(frozen=True)
class Placement:
    """A turn of the axes, a shift and a scale, the same for every point.

    Attributes:
        center: native position of the scene's origin.
        scale: scene units for one native unit.
    """

    center: tuple[float, float, float]
    scale: float

    @classmethod
    def around(cls, points: Array) -> Placement:
        """The middle of the box of native points [N,3] goes to the origin, its size to ours."""
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        x, y, z = ((low + high) / 2).tolist()
        return cls((x, y, z), LONGEST_SIDE / float((high - low).max()))

    def to_scene(self, points: Array) -> Array:
        """[N,3] native positions in the scene frame."""
        return turned_to_scene((points.astype(np.float64) - self.center) * self.scale)

    def to_native(self, points: Tensor) -> Tensor:
        """[...,3] scene positions in the native frame; dtype and device as given."""
        return scene_to_native(points) / self.scale + points.new_tensor(self.center)


def turned_to_scene(vectors: NDArray[np.floating]) -> Array:
    """[N,3] native directions in the scene frame."""
    return np.ascontiguousarray(vectors[:, _SCENE_AXES], np.float32)

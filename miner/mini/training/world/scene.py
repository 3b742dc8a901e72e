"""One object as the rest of the world sees it: distances, colours and normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .shapes import Array, Shape

NORMAL_STEP = 0.004
"""Half step of the central differences: below the smallest feature, far above float32 noise."""


@dataclass(frozen=True)
class Part:
    """A shape and the name of its colour slot: "main", "second", or a fixed one."""

    shape: Shape
    slot: str


@dataclass(frozen=True)
class Scene:
    """Parts with their colours under one similarity.

    A native point p is ``(p - offset) / scale`` in the parts' own frame.

    Attributes:
        shapes: one per part.
        colors: [parts,3] float32, unlit RGB in [0,1].
        scale: size of the object's own unit in the native frame.
        offset: [3] float32, where the object's own origin lies.
    """

    shapes: Sequence[Shape]
    colors: Array
    scale: float
    offset: Array

    def _distances(self, points: Array) -> Array:
        own = (points - self.offset) / np.float32(self.scale)
        every: Array = np.stack([shape(own) for shape in self.shapes])
        return every

    def distance(self, points: Array) -> Array:
        """Signed distance [P] of native points [P,3], negative inside."""
        own = (points - self.offset) * np.float32(1 / self.scale)
        d = self.shapes[0](own)
        for shape in self.shapes[1:]:
            d = np.minimum(d, shape(own))
        return np.asarray(d * np.float32(self.scale), np.float32)

    def color(self, points: Array) -> Array:
        """Unlit RGB [P,3] of the part nearest to each point [P,3]."""
        nearest = self._distances(points).argmin(0)
        return np.asarray(self.colors[nearest], np.float32)

    def normal(self, points: Array) -> Array:
        """Unit normals [P,3]: the gradient of the distance by central differences."""
        n = len(points)
        steps = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32) * NORMAL_STEP
        d = self.distance((points[None] + steps[:, None]).reshape(-1, 3)).reshape(6, n)
        gradient = (d[:3] - d[3:]).T
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        return np.asarray(gradient / np.maximum(length, 1e-9), np.float32)


def bounds(shapes: Sequence[Shape], half: float = 1.6, steps: int = 33) -> tuple[Array, Array]:
    """Lowest and highest corner of the union of shapes, to half a cell of a grid."""
    ticks = np.linspace(-half, half, steps, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 3)
    d = shapes[0](grid)
    for shape in shapes[1:]:
        d = np.minimum(d, shape(grid))
    cell = 2 * half / (steps - 1)
    inside: NDArray[np.float32] = grid[d < cell / 2]
    return inside.min(0), inside.max(0)

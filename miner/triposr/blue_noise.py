"""Evenly spread points on a triangle mesh: stratified by area, then pushed apart.

Points that keep their distance cover a surface with fewer Gaussians than points that clump, because
the holes between random points are what the spread of each Gaussian must be wide enough to close.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from miner.triposr.isosurface import Mesh

Array = NDArray[np.float32]

_NEIGHBOURS = 8
"""The six of a hexagonal arrangement, which repulsion tends to, and two that may come near."""

_KEPT_ROUNDS = 3
"""Rounds for which neighbours are remembered: finding them is most of the time, and few change."""

_RANGE = 1.5
"""Distance, in mean spacings, beyond which points leave each other alone."""

_STEP = 0.5
"""Of the spacing, how far a point moves for one neighbour that touches it. More than this and
neighbours jump past each other; less takes more rounds."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Points on a surface.

    Attributes:
        points: [N,3] float32.
        normals: [N,3] float32, unit length, outwards.
    """

    points: Array
    normals: Array

    def __len__(self) -> int:
        return len(self.points)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Samples:
        """Those at ``index``."""
        return Samples(self.points[index], self.normals[index])

    def joined(self, others: Samples) -> Samples:
        """These, then the others."""
        return Samples(
            np.concatenate([self.points, others.points]),
            np.concatenate([self.normals, others.normals]),
        )


class MeshSampler:
    """Draws points uniformly by area.

    Attributes:
        area: of the whole mesh, in its units squared.
    """

    def __init__(self, mesh: Mesh) -> None:
        """Of ``mesh``, which has some area."""
        self._corners = mesh.vertices[mesh.faces]
        a, b, c = self._corners[:, 0], self._corners[:, 1], self._corners[:, 2]
        self._doubled_normals = np.cross(b - a, c - a)
        doubled = np.linalg.norm(self._doubled_normals, axis=1)
        self._cumulative = np.cumsum(doubled, dtype=np.float64)
        self.area = float(self._cumulative[-1]) / 2

    def draw(self, count: int, rng: np.random.Generator) -> Samples:
        """``count`` points, one in each of as many equal shares of the area.

        Marching cubes numbers its triangles along the grid, so that shares are compact patches more
        often than not.
        """
        at = (np.arange(count) + rng.random(count)) * (self._cumulative[-1] / count)
        face = np.searchsorted(self._cumulative, at, side="right").clip(0, len(self._corners) - 1)
        u, v = rng.random((2, count, 1), dtype=np.float32)
        fold = u + v > 1  # the other half of the parallelogram
        u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
        a, b, c = self._corners[face].swapaxes(0, 1)
        normals = self._doubled_normals[face]
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        return Samples(a + u * (b - a) + v * (c - a), normals)


def spread_out(samples: Samples, spacing: float, rounds: int) -> Samples:
    """The samples after rounds of mutual repulsion within their tangent planes.

    Points leave a curved surface a little; normals stay as they are. Carry the result back onto the
    surface afterwards.

    Args:
        samples: at least 9 points with normals.
        spacing: sqrt(area / N).
        rounds: how often every point moves; six bring most of what many bring.
    """
    points, normals = samples.points, samples.normals
    reach, step = np.float32(_RANGE * spacing), np.float32(_STEP * spacing)
    for first in range(0, rounds, _KEPT_ROUNDS):
        neighbours = nearest(points)
        # The far side of a thin sheet is another surface.
        same_side = np.einsum("nd,nkd->nk", normals, normals[neighbours]) > 0
        for _ in range(first, min(first + _KEPT_ROUNDS, rounds)):
            push = _repulsion(points[:, None] - points[neighbours], same_side, reach)
            push -= np.einsum("nd,nd->n", push, normals)[:, None] * normals
            points = points + step * push
    return Samples(points, normals)


def nearest(points: Array) -> NDArray[np.intp]:
    """[N,K] the other points nearest to each."""
    # An unbalanced tree is built in half the time, and the points are even enough for it.
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    index = np.asarray(tree.query(points, k=_NEIGHBOURS + 1, workers=-1)[1])
    return index[:, 1:]


def _repulsion(away: Array, counts: NDArray[np.bool_], reach: np.float32) -> Array:
    """[N,3] sum of unit vectors away from neighbours, falling linearly to nothing at ``reach``.

    Args:
        away: [N,K,3] from each neighbour to the point.
        counts: [N,K] which neighbours push at all.
        reach: in the units of ``away``.
    """
    distances = np.sqrt(np.einsum("nkd,nkd->nk", away, away))
    strength = np.clip(1 - distances / reach, 0, None) * counts / np.maximum(distances, 1e-9)
    return np.asarray(np.einsum("nk,nkd->nd", strength, away))

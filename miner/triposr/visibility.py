"""Which points of a surface some camera around the object can see.

Fields made by networks hold shells and pockets inside the object. Nobody sees them, they cost
Gaussians, and through the gaps between Gaussians their colours shine out. The test: depth maps of
the mesh's vertices along many axes, in parallel projection, one for each end of an axis.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from miner.triposr.blue_noise import Samples

Array = NDArray[np.float32]

_AXES = 60
"""Axes looked along from both ends: every direction is within about 10 degrees of one."""

_PIXEL_VOXELS = 1.5
"""Side of a depth map's pixel: the vertices of marching cubes leave no larger hole in a surface."""

_STEEPEST = 0.25
"""Least cosine between normal and view: steeper surfaces are judged from other directions."""

_VOTERS = 9
"""A point is what most of its nearest are, itself included: single errors do not make holes."""


def visible(samples: Samples, vertices: Array, voxel: float) -> NDArray[np.bool_]:
    """[N] whether a camera somewhere on a large sphere sees each sample.

    Surfaces that overhang, hollows that open to one side and the inside of a vessel count as
    seen. Gaps narrower than a few voxels count as closed.

    Args:
        samples: N points with outward normals.
        vertices: [V,3] of the marching-cubes mesh that hides them.
        voxel: side of its grid's cells.
    """
    center = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    occluders = np.ascontiguousarray((vertices - center).T)
    points = samples.points - center
    pixel = _PIXEL_VOXELS * voxel
    seen = np.zeros(len(points), bool)
    for axis in _axes(_AXES):
        unseen = np.flatnonzero(~seen)
        if not len(unseen):
            return seen
        facing = samples.normals[unseen] @ axis[2]
        front = _in_front(axis @ points[unseen].T, facing, axis @ occluders, pixel)
        seen[unseen[front]] = True
    _, nearest = cKDTree(samples.points).query(samples.points, k=_VOTERS, workers=-1)
    return np.asarray(seen[nearest].mean(axis=1) > 0.5)


def _in_front(points: Array, facing: Array, occluders: Array, pixel: float) -> NDArray[np.bool_]:
    """[N] whether each point is seen from +z or from -z.

    Args:
        points: [3,N] in view coordinates.
        facing: [N] z component of their normals.
        occluders: [3,V] in view coordinates.
        pixel: side of a pixel.
    """
    reach = float(np.abs(occluders[:2]).max()) + pixel
    width = math.ceil(2 * reach / pixel) + 1
    shown = _pixels(occluders, reach, pixel, width)
    nearest = np.full(width * width, -np.inf, np.float32)
    furthest = np.full(width * width, np.inf, np.float32)
    np.maximum.at(nearest, shown, occluders[2])
    np.minimum.at(furthest, shown, occluders[2])

    at = _pixels(points, reach, pixel, width)
    steepness = np.abs(facing).clip(_STEEPEST)
    slack = pixel * (1 + np.sqrt(1 - steepness**2) / steepness)  # own surface within the pixel
    above = (facing > _STEEPEST) & (points[2] > nearest[at] - slack)
    below = (facing < -_STEEPEST) & (points[2] < furthest[at] + slack)
    return np.asarray(above | below)


def _pixels(points: Array, reach: float, pixel: float, width: int) -> NDArray[np.int32]:
    """[N] index of the pixel that each point falls into."""
    column, row = ((points[:2] + reach) / pixel).astype(np.int32).clip(0, width - 1)
    return np.asarray(row * width + column)


def _axes(count: int) -> list[Array]:
    """Frames [3,3] whose third row runs evenly over half a sphere (a Fibonacci lattice)."""
    frames = []
    for k in range(count):
        z = (k + 0.5) / count
        angle = k * math.pi * (3 - math.sqrt(5))
        r = math.sqrt(1 - z * z)
        forward = np.array([r * math.cos(angle), r * math.sin(angle), z])
        right = np.array([-math.sin(angle), math.cos(angle), 0.0])
        frames.append(np.stack([right, np.cross(forward, right), forward]).astype(np.float32))
    return frames

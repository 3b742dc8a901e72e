"""Signed-distance primitives: functions from points to distances, in numpy and in float32.

Every constructor returns a ``Shape``: a function from points [P,3] to signed distances [P],
negative inside. Distances are exact or lower bounds, so that sphere tracing never oversteps.
Formulas: Hart, "Sphere tracing" (1996), and elementary geometry; the long axis is +z throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Shape = Callable[[Array], Array]


def _norm2(a: Array, b: Array) -> Array:
    return np.sqrt(a * a + b * b)


def _norm(p: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", p, p)), np.float32)


def _quadrant(dx: Array, dy: Array) -> Array:
    """Distance to the quadrant dx <= 0, dy <= 0 of a plane whose axes are dx and dy."""
    outside = _norm2(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0)


def sphere(radius: float) -> Shape:
    """Ball around the origin."""
    return lambda p: _norm(p) - np.float32(radius)


def ellipsoid(radii: Sequence[float]) -> Shape:
    """Axis-aligned ellipsoid: first-order distance k0 (k0 - 1) / k1, made smaller to be safe."""
    inverse = (1 / np.asarray(radii)).astype(np.float32)

    def distance(p: Array) -> Array:
        q = p * inverse
        k0, k1 = _norm(q), _norm(q * inverse) + np.float32(1e-6)
        return np.float32(0.8) * k0 * (k0 - 1) / k1

    return distance


def box(half: Sequence[float], rounding: float = 0.0) -> Shape:
    """Axis-aligned box with half sides ``half`` (rounding included in them)."""
    inner = (np.asarray(half) - rounding).astype(np.float32)

    def distance(p: Array) -> Array:
        q = np.abs(p) - inner
        inside: Array = np.minimum(q.max(axis=1), 0)
        return _norm(np.maximum(q, 0)) + inside - np.float32(rounding)

    return distance


def cylinder(radius: float, half_height: float, rounding: float = 0.0) -> Shape:
    """Upright cylinder around the z axis."""
    r, h = np.float32(radius - rounding), np.float32(half_height - rounding)

    def distance(p: Array) -> Array:
        radial = _norm2(p[:, 0], p[:, 1]) - r
        return _quadrant(radial, np.abs(p[:, 2]) - h) - np.float32(rounding)

    return distance


def frustum(bottom: float, top: float, half_height: float) -> Shape:
    """Upright capped cone: radius ``bottom`` at -half_height and ``top`` at +half_height."""
    h = np.float32(half_height)
    slope = (bottom - top) / (2 * half_height)
    cosine = np.float32(1 / np.sqrt(1 + slope * slope))
    middle, s = np.float32((bottom + top) / 2), np.float32(slope)

    def distance(p: Array) -> Array:
        radial = _norm2(p[:, 0], p[:, 1])
        side = (radial - (middle - s * p[:, 2])) * cosine
        return np.maximum(side, np.abs(p[:, 2]) - h)

    return distance


def torus(major: float, minor: float) -> Shape:
    """Ring around the z axis."""

    def distance(p: Array) -> Array:
        ring = _norm2(p[:, 0], p[:, 1]) - np.float32(major)
        return _norm2(ring, p[:, 2]) - np.float32(minor)

    return distance


def capsule(radius: float, half_length: float) -> Shape:
    """Segment of the z axis, thickened."""

    def distance(p: Array) -> Array:
        z = p[:, 2] - np.clip(p[:, 2], -half_length, half_length)
        return np.sqrt(p[:, 0] ** 2 + p[:, 1] ** 2 + z * z) - np.float32(radius)

    return distance


def convex(normals: Sequence[Sequence[float]], offsets: Sequence[float]) -> Shape:
    """Intersection of half spaces n.p <= d (normals are normalised here); a bound outside."""
    n = np.asarray(normals, np.float64)
    length = np.linalg.norm(n, axis=1)
    unit = (n / length[:, None]).astype(np.float32)
    d = (np.asarray(offsets) / length).astype(np.float32)

    def distance(p: Array) -> Array:
        worst: Array = (p @ unit.T - d).max(axis=1)
        return worst

    return distance


def pyramid(half_base: float, height: float) -> Shape:
    """Square pyramid standing on z = 0."""
    h, b = height, half_base
    sides = [(h, 0, b), (-h, 0, b), (0, h, b), (0, -h, b), (0, 0, -1)]
    return convex(sides, [h * b] * 4 + [0.0])


def gable(half_x: float, half_y: float, height: float) -> Shape:
    """Roof: a triangular prism standing on z = 0, its ridge along y."""
    h, b = height, half_x
    return convex(
        [(h, 0, b), (-h, 0, b), (0, 1, 0), (0, -1, 0), (0, 0, -1)],
        [h * b, h * b, half_y, half_y, 0],
    )


def moved(shape: Shape, x: float = 0, y: float = 0, z: float = 0) -> Shape:
    """The shape with its origin at (x, y, z)."""
    offset = np.array([x, y, z], np.float32)
    return lambda p: shape(p - offset)


def turned(shape: Shape, axis: str, degrees: float) -> Shape:
    """The shape turned about one axis through the origin, counter-clockwise seen from its tip."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    rotation = np.eye(3)
    rotation[i, i], rotation[i, j], rotation[j, i], rotation[j, j] = c, -s, s, c
    matrix = rotation.astype(np.float32)  # rows of p times this is the inverse rotation
    return lambda p: shape(p @ matrix)


def carved(shape: Shape, hole: Shape) -> Shape:
    """The shape with a hole cut out of it."""
    return lambda p: np.maximum(shape(p), -hole(p))


def union(*shapes: Shape) -> Shape:
    """All of them together."""

    def distance(p: Array) -> Array:
        d = shapes[0](p)
        for other in shapes[1:]:
            d = np.minimum(d, other(p))
        return d

    return distance

"""A small ray marcher: sphere tracing of one object into an RGBA picture or a silhouette.

Two passes: cones of a quarter of the resolution find the empty parts of the picture and a safe
start of the others; rays with 2 x 2 samples a pixel finish. Camera as TripoSR's default: it looks
at the origin from distance 1.9, vertical field of view 40 degrees; x front, y right, z up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .palette import shade
from .scene import Scene

Array = NDArray[np.float32]

DISTANCE, FOV_DEG = 1.9, 40.0
_NEAR, _FAR = 0.7, 3.1
_CONE = 4
"""Rays of the last pass per side of a cone of the first."""


def camera_rays(azimuth_deg: float, elevation_deg: float, size: int) -> tuple[Array, Array]:
    """Origin [3] and unit directions [size*size,3], rows from the top, of an orbiting camera."""
    az, el = np.radians(azimuth_deg), np.radians(elevation_deg)
    back = np.array([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
    right = np.array([-np.sin(az), np.cos(az), 0.0])
    up = np.cross(back, right)
    half = np.tan(np.radians(FOV_DEG) / 2)
    ticks = ((np.arange(size) + 0.5) / size * 2 - 1) * half
    d = -back + ticks[None, :, None] * right + -ticks[:, None, None] * up
    d = d.reshape(-1, 3)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return (DISTANCE * back).astype(np.float32), d.astype(np.float32)


def _cone_starts(scene: Scene, origin: Array, azimuth: float, elevation: float, size: int) -> Array:
    """Safe start of all rays in each cone, [size/_CONE, size/_CONE]; infinity where none hits."""
    coarse = size // _CONE
    _, directions = camera_rays(azimuth, elevation, coarse)
    spread = np.float32(
        np.tan(np.radians(FOV_DEG) / 2) * 2 / coarse * 0.75
    )  # half diagonal and some
    t = np.full(len(directions), _NEAR, np.float32)
    active = np.arange(len(t))
    for _ in range(24):
        d = scene.distance(origin + t[active, None] * directions[active])
        step = d - spread * t[active]
        t[active] += np.maximum(step, 0)
        t[active[t[active] > _FAR]] = np.inf
        active = active[(step > 0.004) & np.isfinite(t[active])]
        if not len(active):
            break
    return t.reshape(coarse, coarse)


def _trace(scene: Scene, origin: Array, directions: Array, t: Array) -> Array:
    """Distance [R] along each ray to the surface, infinity where it misses."""
    t = t.copy()
    active = np.flatnonzero(np.isfinite(t))
    for _ in range(48):
        d = scene.distance(origin + t[active, None] * directions[active])
        t[active] += d
        gone = t[active] > _FAR
        t[active[gone]] = np.inf
        active = active[(np.abs(d) > 0.0015) & ~gone]
        if not len(active):
            break
    t[active] = np.inf
    return t


def render(
    scene: Scene, azimuth_deg: float = 0.0, elevation_deg: float = 12.0, size: int = 64
) -> NDArray[np.uint8]:
    """[size,size,4] uint8 RGBA picture, colour not premultiplied, 2 x 2 samples a pixel."""
    fine = size * 2
    origin, directions = camera_rays(azimuth_deg, elevation_deg, fine)
    starts = _cone_starts(scene, origin, azimuth_deg, elevation_deg, fine)
    t = _trace(scene, origin, directions, np.repeat(np.repeat(starts, _CONE, 0), _CONE, 1).ravel())
    hit = np.isfinite(t)
    points = origin + t[hit, None] * directions[hit]
    rgba = np.zeros((fine * fine, 4), np.float32)
    rgba[hit, :3] = scene.color(points) * shade(scene.normal(points))[:, None]
    rgba[hit, 3] = 1
    pooled = rgba.reshape(size, 2, size, 2, 4).mean((1, 3))
    pooled[..., :3] /= np.maximum(pooled[..., 3:], 1e-6)
    return np.asarray(np.clip(pooled * 255 + 0.5, 0, 255), np.uint8)


def silhouette(
    scene: Scene, azimuth_deg: float, elevation_deg: float, size: int
) -> NDArray[np.bool_]:
    """[size,size] whether the ray through each pixel's centre hits the object."""
    origin, directions = camera_rays(azimuth_deg, elevation_deg, size)
    starts = _cone_starts(scene, origin, azimuth_deg, elevation_deg, size)
    t = _trace(scene, origin, directions, np.repeat(np.repeat(starts, _CONE, 0), _CONE, 1).ravel())
    return np.isfinite(t).reshape(size, size)

"""Fields with a formula: signed distances with colours, whose true surface and picture are known.

Frame as TripoSR's: x to the front camera, y right, z up, inside the box of radius 0.87. The density
is 25 exp(-distance / softness), what a well trained network tends to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from miner.geometry.cameras import Camera

CPU = torch.device("cpu")

Distance = Callable[[Tensor], Tensor]
"""[N,3] points to [N] signed distances, negative inside."""


@dataclass(frozen=True)
class AnalyticField:
    """An object given by its signed distance, seen through the ``Field`` protocol.

    Attributes:
        distance: may be a lower bound of the true distance.
        color: [N,3] points to [N,3] in [0,1].
        softness: distance over which the density falls by a factor of e.
    """

    distance: Distance
    color: Distance = lambda xyz: torch.full_like(xyz, 0.5)
    softness: float = 0.012
    radius: float = 0.87
    device: torch.device = CPU

    def density(self, xyz: Tensor) -> Tensor:
        return 25.0 * torch.exp(-self.distance(xyz) / self.softness)[:, None]

    def query(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(xyz), self.color(xyz)


def sphere(radius: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Distance:
    return lambda xyz: (xyz - torch.tensor(center)).norm(dim=1) - radius


def box(
    half: tuple[float, float, float], center: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Distance:
    def distance(xyz: Tensor) -> Tensor:
        q = (xyz - torch.tensor(center)).abs() - torch.tensor(half)
        return q.clamp(min=0).norm(dim=1) + q.amax(dim=1).clamp(max=0)

    return distance


def torus(major: float, minor: float) -> Distance:
    """Around the z axis."""

    def distance(xyz: Tensor) -> Tensor:
        ring = xyz[:, :2].norm(dim=1) - major
        return torch.stack([ring, xyz[:, 2]], dim=1).norm(dim=1) - minor

    return distance


def capsule(
    start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> Distance:
    a, b = torch.tensor(start), torch.tensor(end)

    def distance(xyz: Tensor) -> Tensor:
        t = ((xyz - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)
        return (xyz - a - t[:, None] * (b - a)).norm(dim=1) - radius

    return distance


def union(*parts: Distance) -> Distance:
    return lambda xyz: torch.stack([part(xyz) for part in parts]).amin(dim=0)


def minus(body: Distance, cut: Distance) -> Distance:
    return lambda xyz: torch.maximum(body(xyz), -cut(xyz))


def shell(surface: Distance, thickness: float) -> Distance:
    """What lies within half the thickness of a surface."""
    return lambda xyz: surface(xyz).abs() - thickness / 2


def tilted(body: Distance, degrees: tuple[float, float, float]) -> Distance:
    """Turned about x, then y, then z."""
    matrix = torch.eye(3)
    for axis, angle in enumerate(degrees):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn = torch.eye(3)
        i, j = [a for a in range(3) if a != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return lambda xyz: body(xyz @ matrix)


def bumpy(body: Distance, height: float, waves: float) -> Distance:
    """Slopes up to 1 + height * waves * sqrt(3); not a true distance any more."""
    return lambda xyz: body(xyz) - height * torch.sin(waves * xyz).prod(dim=1)


def mug() -> Distance:
    """Open upwards (+z), with a handle; walls 0.06 thick."""
    outer = _cylinder(0.4, 0.45)
    hollow = _shifted(_cylinder(0.34, 0.45), (0.0, 0.0, 0.06))
    handle = _shifted(lambda xyz: torus(0.22, 0.05)(xyz[:, [1, 2, 0]]), (0.0, 0.45, 0.0))
    return union(minus(outer, hollow), minus(handle, _cylinder(0.37, 2.0)))


def _cylinder(radius: float, half_height: float) -> Distance:
    def distance(xyz: Tensor) -> Tensor:
        q = torch.stack([xyz[:, :2].norm(dim=1) - radius, xyz[:, 2].abs() - half_height], dim=1)
        return q.clamp(min=0).norm(dim=1) + q.amax(dim=1).clamp(max=0)

    return distance


def _shifted(body: Distance, by: tuple[float, float, float]) -> Distance:
    return lambda xyz: body(xyz - torch.tensor(by))


def test_object() -> AnalyticField:
    """Torus, bumpy sphere and bar with stripes: thin and thick, edges, saddles, sharp colours."""
    ring = tilted(torus(0.55, 0.12), (25.0, 10.0, 0.0))
    ball = bumpy(sphere(0.3), 0.015, 22.0)
    bar = tilted(box((0.07, 0.07, 0.75)), (35.0, -20.0, 0.0))
    return AnalyticField(union(ring, ball, bar), stripes)


test_object.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name


def stripes(xyz: Tensor) -> Tensor:
    """Soft coloured bands, different along each axis."""
    phase = xyz @ torch.tensor([[9.0, 2.0, -4.0], [3.0, 8.0, 6.0], [-5.0, 4.0, 10.0]])
    return 0.5 + 0.4 * torch.sin(phase)


def zoo() -> dict[str, AnalyticField]:
    """Objects that are hard in different ways, by name."""
    speck = 2.5 * 2 * 0.87 / 256  # a little more than two voxels across
    rng = np.random.default_rng(3)
    specks = [sphere(speck / 2, tuple(p)) for p in rng.uniform(-0.75, 0.75, (24, 3)).tolist()]
    plate = box((0.5, 0.4, 0.008))
    return {
        "test object": test_object(),
        "specks": AnalyticField(union(sphere(0.2), *specks)),
        "tilted plate": AnalyticField(tilted(plate, (31.0, 17.0, 42.0))),
        "thin rods": AnalyticField(
            union(
                capsule((-0.7, -0.6, -0.5), (0.6, 0.7, 0.55), 0.009),
                capsule((0.7, -0.7, 0.1), (-0.5, 0.7, -0.6), 0.011),
            )
        ),
        "nested shells": AnalyticField(
            union(shell(sphere(0.55), 0.03), shell(sphere(0.3), 0.03), sphere(0.12))
        ),
        "mug": AnalyticField(mug()),
        "through the box": AnalyticField(capsule((-2.0, 0.1, 0.0), (2.0, 0.2, 0.1), 0.3)),
    }


def picture(
    field: AnalyticField,
    camera: Camera,
    to_native: Callable[[Tensor], Tensor],
    samples: int = 3,
) -> Tensor:
    """The object as it is, on white: [H,W,3] in [0,1], ``samples`` squared rays a pixel.

    Sphere tracing (Hart 1996) with shortened steps, since not all distances here are true ones.

    Args:
        field: in the native frame.
        camera: in the scene frame.
        to_native: scene points [N,3] to native points.
        samples: per side of a pixel.
    """
    fine = replace(camera, width=camera.width * samples, height=camera.height * samples)
    origins, directions = (rays.reshape(-1, 3) for rays in fine.rays())
    start, end = to_native(origins), to_native(origins + directions)
    scale = (end - start).norm(dim=1, keepdim=True)
    points = _trace(field.distance, start, (end - start) / scale, 4.0 * float(scale[0]))
    image = torch.ones_like(points)
    hit = points.isfinite().all(dim=1)
    image[hit] = field.color(points[hit])
    image = image.reshape(camera.height, samples, camera.width, samples, 3)
    return image.mean(dim=(1, 3))


def _trace(distance: Distance, origins: Tensor, directions: Tensor, far: float) -> Tensor:
    """First hits [N,3], infinite where a ray misses."""
    depth = torch.full((len(origins),), math.inf)
    active, t = torch.arange(len(origins)), torch.zeros(len(origins))
    for _ in range(400):
        gap = distance(origins[active] + t[:, None] * directions[active])
        hit = gap < 1e-4
        depth[active[hit]] = t[hit]
        t = t + 0.7 * gap
        going = ~hit & (t < far)
        active, t = active[going], t[going]
        if not len(active):
            break
    return origins + depth[:, None] * directions

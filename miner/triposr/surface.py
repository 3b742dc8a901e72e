"""A field becomes Gaussians: flat discs, evenly spread over what can be seen of its surface.

Recipe: isosurface, samples uniform by area, neighbours pushed apart, Newton steps back onto the
isosurface, normals from the field's gradient, one flat Gaussian each, sunk beneath the surface.
No training and no picture is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from miner.geometry.gaussians import Gaussians
from miner.triposr.blue_noise import MeshSampler, Samples, spread_out
from miner.triposr.discs import flat_gaussians
from miner.triposr.field import Field
from miner.triposr.islands import without_islands
from miner.triposr.isosurface import Mesh, extract_mesh
from miner.triposr.level_set import LevelSet
from miner.triposr.placement import Placement
from miner.triposr.surface_settings import SurfaceSettings
from miner.triposr.visibility import visible

Array = NDArray[np.float32]

_SPARE = 1.01
"""Samples drawn beyond those wanted, so that a few hidden ones do not cost another draw."""

_LEAST_VISIBLE = 0.02
"""Of the area. Everything has an outside: where less is seen, the mesh is too small to judge."""


@dataclass(frozen=True)
class SurfaceReport:
    """What was found and what it cost.

    Attributes:
        grid_points: points of the field asked for by the isosurface.
        surface_points: and for Newton steps, normals and colours.
        dense_points: what the whole grid has.
        triangles: of the mesh.
        area: of the visible surface, in scene units squared.
        hidden_fraction: of the whole area, what no camera sees.
        placement: of the field in the scene.
    """

    grid_points: int
    surface_points: int
    dense_points: int
    triangles: int
    area: float
    hidden_fraction: float
    placement: Placement


def field_to_gaussians(
    field: Field, settings: SurfaceSettings | None = None, seed: int = 0
) -> tuple[Gaussians, SurfaceReport]:
    """Gaussians that look like the isosurface of a field from every side.

    Args:
        field: in TripoSR's native frame.
        settings: the recipe; the default one if None.
        seed: the same seed gives the same Gaussians.

    Returns:
        ``settings.count`` Gaussians in the scene frame (+Y up, front to +Z), the box around their
        centres in the middle of the scene and its longest side ``LONGEST_SIDE``; and the report.

    Raises:
        BadOutput: the field has no surface.
    """
    settings = settings or SurfaceSettings()
    rng = np.random.default_rng(seed)
    mesh = without_islands(extract_mesh(field, settings), settings.island_share)
    voxel = 2 * field.radius / settings.resolution
    samples, area, hidden = _visible_samples(mesh, voxel, settings, rng)
    spacing = math.sqrt(area / len(samples))
    samples = spread_out(samples, spacing, settings.relax_rounds)
    level_set = LevelSet(field, settings.threshold, voxel)
    samples = _onto_surface(level_set, samples, voxel, settings.newton_steps)
    colors = _colors(field, samples.points)

    gaussians, placement = flat_gaussians(samples, colors, spacing, settings)
    report = SurfaceReport(
        grid_points=mesh.grid_points,
        surface_points=level_set.points + len(samples),
        dense_points=(settings.resolution + 1) ** 3,
        triangles=len(mesh.faces),
        area=area * placement.scale**2,
        hidden_fraction=hidden,
        placement=placement,
    )
    return gaussians, report


def _visible_samples(
    mesh: Mesh, voxel: float, settings: SurfaceSettings, rng: np.random.Generator
) -> tuple[Samples, float, float]:
    """``settings.count`` samples, the area they stand for, and the hidden fraction of the whole."""
    sampler, count = MeshSampler(mesh), settings.count
    if not settings.drop_hidden:
        return sampler.draw(count, rng), sampler.area, 0.0
    drawn = count
    while True:
        drawn = math.ceil(_SPARE * drawn)
        samples = sampler.draw(drawn, rng)
        seen = np.flatnonzero(visible(samples, mesh.vertices, voxel))
        fraction = len(seen) / drawn
        if fraction < _LEAST_VISIBLE:
            return samples.take(rng.permutation(drawn)[:count]), sampler.area, 0.0
        if len(seen) >= count:
            samples = samples.take(rng.permutation(seen)[:count])
            return samples, sampler.area * fraction, 1 - fraction
        drawn = math.ceil(count / fraction)


def _onto_surface(level_set: LevelSet, samples: Samples, voxel: float, steps: int) -> Samples:
    """Samples moved to where the level is zero, with the field's own normals.

    The gradient is taken once, before the first step (the chord variant of Newton's method):
    samples of a mesh start so near that it hardly changes. No step is longer than a voxel, so a
    wild gradient cannot throw a point off.
    """
    points = torch.from_numpy(samples.points).to(level_set.device)
    normals = torch.from_numpy(samples.normals).to(level_set.device)
    level, gradient = level_set.with_gradient(points, 0.5 * voxel)
    slope = gradient.norm(dim=1).clamp_min(1e-12)
    outwards = -gradient / slope[:, None]
    # Where the field contradicts the mesh (a flat spot, a crease) the mesh is right.
    agrees = (outwards * normals).sum(dim=1) > 0
    normals = torch.where(agrees[:, None], outwards, normals)
    for step in range(steps):
        if step:
            level = level_set(points)
        move = torch.where(agrees, (level / slope).clamp(-voxel, voxel), 0.0)
        points = points + move[:, None] * normals
        points = points.clamp(-level_set.half_side, level_set.half_side)
    return Samples(points.cpu().numpy(), normals.cpu().numpy())


def _colors(field: Field, points: Array) -> Array:
    with torch.no_grad():
        _, color = field.query(torch.from_numpy(points).to(field.device))
    return np.asarray(color.float().clamp(0, 1).cpu().numpy())

"""The isosurface of a field as a closed mesh, from a small part of the dense grid's points.

A sparse grid finds where the surface is, level by level; marching cubes (Lewiner et al. 2003, as in
scikit-image) runs on the finest one, which is cropped to the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from miner.errors import BadOutput
from miner.triposr.field import Field
from miner.triposr.level_set import LevelSet
from miner.triposr.sparse_grid import SparseGrid, base_grid, refined
from miner.triposr.surface_settings import SurfaceSettings


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed triangle mesh in the field's own frame and units.

    Attributes:
        vertices: [V,3] float32.
        faces: [F,3] int32, counter-clockwise seen from outside; a few may have no area.
        grid_points: how many points the field was asked for.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    grid_points: int


def extract_mesh(field: Field, settings: SurfaceSettings) -> Mesh:
    """The isosurface ``density == settings.threshold``, closed where it meets the box.

    Raises:
        BadOutput: the density crosses the threshold nowhere on the grid.
    """
    level_set = LevelSet(field, settings.threshold, 2 * field.radius / settings.resolution)
    grid: SparseGrid | None = base_grid(level_set, settings.base_resolution)
    while grid and grid.resolution < settings.resolution:
        grid = refined(grid, level_set)
    if grid is None or not grid.values.amin() < 0 < grid.values.amax():
        raise BadOutput(
            "reconstruct",
            f"no surface: the density nowhere reaches {settings.threshold:g}; "
            "another seed or a picture with one clear object may help",
        )
    return _marched(grid, field.radius, level_set.points)


def _marched(grid: SparseGrid, radius: float, grid_points: int) -> Mesh:
    nodes, faces, _, _ = marching_cubes(
        grid.values.cpu().numpy(), 0.0, gradient_direction="ascent"
    )  # which here means: faces turn their front towards lower values
    voxel = 2 * radius / grid.resolution
    vertices = (nodes.astype(np.float64) + grid.origin) * voxel - radius
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), grid_points)

"""Coarse-to-fine isosurface of a field: a mesh from a small part of the dense grid's points.

All points of a coarse grid are asked; then cells are halved, again and again, but only those that
the surface may cross. Marching cubes (Lewiner et al. 2003, as in scikit-image) runs on the finest
grid, cropped to the object. Where the coarse grids rejected a cell, only the sign is known.

A cell is rejected when its eight corners agree in sign and all are further from zero than the level
can fall on the way into the cell, judged by the steepest slope in the cell and its neighbours. No
point of a cell is further than half its diagonal from a corner. So nothing is lost that the dense
grid finds, not even parts that lie between the coarse grid's points, as long as the level tells of
them by its slope around them, as distances and their like do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import marching_cubes
from torch import Tensor

from miner.errors import BadOutput
from miner.triposr.field import Field
from miner.triposr.level_set import LevelSet
from miner.triposr.surface_settings import SurfaceSettings

_HALF_DIAGONAL = math.sqrt(3.0) / 2


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


@dataclass(frozen=True, eq=False)
class _Grid:
    """Levels on a box-shaped part of a regular grid.

    Attributes:
        values: [a,b,c] levels at the nodes; where nothing was asked, only the sign means anything.
        candidates: [a-1,b-1,c-1] bool, cells all of whose corners were asked.
        origin: index of the first node in the whole grid of this resolution.
        resolution: cells along a side of the whole grid.
    """

    values: Tensor
    candidates: Tensor
    origin: tuple[int, int, int]
    resolution: int


def extract_mesh(field: Field, settings: SurfaceSettings) -> Mesh:
    """The isosurface ``density == settings.threshold``, closed where it meets the box.

    Raises:
        BadOutput: the density crosses the threshold nowhere on the grid.
    """
    level_set = LevelSet(field, settings.threshold, 2 * field.radius / settings.resolution)
    grid = _base_grid(level_set, field.radius, settings.base_resolution)
    while grid.resolution < settings.resolution:
        keep = grid.candidates & _may_cross(grid)
        if not keep.any():
            break
        grid = _refined(grid, keep, level_set, field.radius)
    low, high = grid.values.aminmax()
    if not (low < 0 < high):
        raise BadOutput(
            "reconstruct",
            f"no surface: the density nowhere reaches {settings.threshold:g}; "
            "another seed or a picture with one clear object may help",
        )
    return _marched(grid, field.radius, level_set.points)


def _base_grid(level_set: LevelSet, radius: float, resolution: int) -> _Grid:
    shape = (resolution + 1,) * 3
    nodes = torch.cartesian_prod(*(torch.arange(n, device=level_set.device) for n in shape))
    values = level_set(_positions(nodes, (0, 0, 0), resolution, radius)).reshape(shape)
    cells = torch.ones((resolution,) * 3, dtype=torch.bool, device=values.device)
    return _Grid(values, cells, (0, 0, 0), resolution)


def _positions(
    nodes: Tensor, origin: tuple[int, int, int], resolution: int, radius: float
) -> Tensor:
    """[N,3] float32 positions of node indices [N,3]; a node has the same one on every grid."""
    whole = nodes + torch.tensor(origin, device=nodes.device)
    return (whole.double() * (2 * radius / resolution) - radius).float()


def _may_cross(grid: _Grid) -> Tensor:
    """[a-1,b-1,c-1] bool: cells that the zero of the level may enter, see the head of this file."""
    low, high = grid.values, grid.values
    known = _corners_of(grid.candidates)
    slope_squared = torch.zeros_like(grid.values[1:, 1:, 1:])
    for axis in range(3):
        low = torch.minimum(*_neighbours(low, axis))
        high = torch.maximum(*_neighbours(high, axis))
        # A difference to a node that holds another's value would count a slope twice.
        steepest = grid.values.diff(dim=axis).abs() * torch.logical_and(*_neighbours(known, axis))
        for other in {0, 1, 2} - {axis}:
            steepest = torch.maximum(*_neighbours(steepest, other))
        slope_squared += steepest.square()
    nearest = torch.maximum(low, -high)  # of all corners to zero; negative where the signs differ
    return nearest <= _HALF_DIAGONAL * _dilated(slope_squared).sqrt()


def _neighbours(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The values without the last, and without the first, along an axis."""
    size = values.shape[axis]
    return values.narrow(axis, 0, size - 1), values.narrow(axis, 1, size - 1)


def _dilated(values: Tensor) -> Tensor:
    """Maximum over 3 x 3 x 3 neighbours, [a,b,c] to [a,b,c]."""
    for axis in range(3):
        below, above = _neighbours(values, axis)
        grown = values.clone()
        lower, upper = _neighbours(grown, axis)
        torch.maximum(lower, above, out=lower)
        torch.maximum(upper, below, out=upper)
        values = grown
    return values


def _refined(grid: _Grid, keep: Tensor, level_set: LevelSet, radius: float) -> _Grid:
    """The grid of twice the resolution, cropped to the kept cells, whose nodes are all asked."""
    begin, end = _bounds(keep)
    window = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    corners = tuple(slice(b, e + 1) for b, e in zip(begin, end, strict=True))
    candidates, values = _repeated(keep[window]), _repeated(grid.values[corners])
    # Node i between coarse nodes holds the value of node floor(i / 2): of the right sign, because
    # in a cell that was not kept all corners agree.
    values = values[:-1, :-1, :-1].contiguous()
    asked = _corners_of(candidates)
    asked[::2, ::2, ::2] = False  # known from the coarse grid
    origin = (
        2 * (grid.origin[0] + begin[0]),
        2 * (grid.origin[1] + begin[1]),
        2 * (grid.origin[2] + begin[2]),
    )
    positions = _positions(asked.nonzero(), origin, 2 * grid.resolution, radius)
    values[asked] = level_set(positions)
    return _Grid(values, candidates, origin, 2 * grid.resolution)


def _bounds(keep: Tensor) -> tuple[list[int], list[int]]:
    """First and one past the last kept cell along each axis, and one cell of margin.

    The margin keeps the mesh closed even if a surface should leave the kept cells.
    """
    begin, end = [], []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        kept = keep.any(dim=others[1]).any(dim=others[0]).nonzero()
        begin.append(max(int(kept[0]) - 1, 0))
        end.append(min(int(kept[-1]) + 2, keep.shape[axis]))
    return begin, end


def _repeated(values: Tensor) -> Tensor:
    """Each element twice along each axis."""
    for axis in range(3):
        values = values.repeat_interleave(2, dim=axis)
    return values


def _corners_of(cells: Tensor) -> Tensor:
    """[a+1,b+1,c+1] bool: nodes that are a corner of a true cell of [a,b,c]."""
    nodes = torch.nn.functional.pad(cells, (1, 1, 1, 1, 1, 1))
    for axis in range(3):
        nodes = torch.logical_or(*_neighbours(nodes, axis))
    return nodes


def _marched(grid: _Grid, radius: float, grid_points: int) -> Mesh:
    vertices, faces, _, _ = marching_cubes(
        grid.values.cpu().numpy(), 0.0, gradient_direction="ascent"
    )
    voxel = 2 * radius / grid.resolution
    vertices = (vertices + np.asarray(grid.origin, np.float32)) * np.float32(voxel) - radius
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), grid_points)

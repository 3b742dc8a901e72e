"""A regular grid of levels, refined only where their zero may pass.

Cells are halved, again and again, unless what is known of a cell proves that the zero cannot enter
it. The proof rests on the steepest slope L between nodes of the cell and of its neighbours: around
a node with level v there is no zero within |v| / L. First the eight corners are held against that;
where these balls leave room, the cell's centre is asked, which settles most of the cells that
merely lie beside the surface; only the others are asked whole. So nothing is lost that the dense
grid finds, not even parts that lie between the coarse grid's nodes, as long as the level tells of
them by its slope around them, as distances and their like do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.triposr.level_set import LevelSet

_HALF_DIAGONAL = math.sqrt(3.0) / 2
"""From the centre of a cell to its corners, in its sides: no point of it is further from all."""


@dataclass(frozen=True, eq=False)
class SparseGrid:
    """Levels on a box-shaped part of a regular grid.

    Attributes:
        values: [a,b,c] levels at the nodes; where nothing was asked, only the sign means anything.
        candidates: [a-1,b-1,c-1] bool, cells all of whose corners were asked; the zero enters none
            of the others.
        origin: index of the first node in the whole grid of this resolution.
        resolution: cells along a side of the whole grid.
    """

    values: Tensor
    candidates: Tensor
    origin: tuple[int, int, int]
    resolution: int


def base_grid(level_set: LevelSet, resolution: int) -> SparseGrid:
    """The whole grid, every node asked."""
    shape = (resolution + 1,) * 3
    nodes = torch.cartesian_prod(*(torch.arange(n, device=level_set.device) for n in shape))
    values = level_set(_positions(nodes, (0, 0, 0), resolution, level_set.radius)).reshape(shape)
    cells = torch.ones((resolution,) * 3, dtype=torch.bool, device=values.device)
    return SparseGrid(values, cells, (0, 0, 0), resolution)


def refined(grid: SparseGrid, level_set: LevelSet) -> SparseGrid | None:
    """The grid of twice the resolution, cropped to where the zero may be; None if it is nowhere."""
    nearest, slope = _evidence(grid)
    keep = grid.candidates & (nearest <= _HALF_DIAGONAL * slope)
    if not keep.any():
        return None
    begin, end = _bounds(keep)
    cells = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    nodes = tuple(slice(b, e + 1) for b, e in zip(begin, end, strict=True))
    x, y, z = (2 * (o + b) for o, b in zip(grid.origin, begin, strict=True))
    keep, nearest, slope = keep[cells], nearest[cells], slope[cells]
    # Node i between coarse nodes holds the value of node floor(i / 2): of the right sign, because
    # in a cell that is not kept all corners agree.
    values = _repeated(grid.values[nodes])[:-1, :-1, :-1].contiguous()

    def ask(where: Tensor) -> Tensor:
        return level_set(_positions(where, (x, y, z), 2 * grid.resolution, level_set.radius))

    centers, corners = values[1::2, 1::2, 1::2], values[:-1:2, :-1:2, :-1:2]
    centers[keep] = ask(2 * keep.nonzero() + 1)
    keep &= ~((centers * corners > 0) & _covered(nearest / slope, centers.abs() / slope))

    candidates = _repeated(keep)
    missing = _corners_of(candidates)
    missing[::2, ::2, ::2] = missing[1::2, 1::2, 1::2] = False  # asked already
    values[missing] = ask(missing.nonzero())
    return SparseGrid(values, candidates, (x, y, z), 2 * grid.resolution)


def _positions(
    nodes: Tensor, origin: tuple[int, int, int], resolution: int, radius: float
) -> Tensor:
    """[N,3] float32 positions of node indices [N,3]; a node has the same one on every grid."""
    whole = nodes + torch.tensor(origin, device=nodes.device)
    return (whole.double() * (2 * radius / resolution) - radius).float()


def _evidence(grid: SparseGrid) -> tuple[Tensor, Tensor]:
    """For each cell [a-1,b-1,c-1]: how near zero its corners come, and the steepest slope around.

    Returns:
        nearest: least absolute level of the corners where all agree in sign; not positive where
            they do not.
        slope: > 0, levels per side of a cell.
    """
    low, high = grid.values, grid.values
    known = _corners_of(grid.candidates)
    slope_squared = torch.full_like(grid.values[1:, 1:, 1:], torch.finfo(torch.float32).tiny)
    for axis in range(3):
        low = torch.minimum(*_neighbours(low, axis))
        high = torch.maximum(*_neighbours(high, axis))
        # A difference to a node that holds another's value would count a slope twice.
        steepest = grid.values.diff(dim=axis).abs() * torch.logical_and(*_neighbours(known, axis))
        for other in {0, 1, 2} - {axis}:
            steepest = torch.maximum(*_neighbours(steepest, other))
        slope_squared += steepest.square()
    return torch.maximum(low, -high), _dilated(slope_squared).sqrt()


def _covered(corner: Tensor, center: Tensor) -> Tensor:
    """Whether balls around a unit cube's corners, and one around its centre, cover the cube.

    A ball of radius r >= sqrt(1/2) around the centre leaves only the regions around the corners,
    which reach along the edges to within 1/2 - sqrt(r^2 - 1/2) of each corner.

    Args:
        corner: least radius of the balls around the corners.
        center: radius of the ball around the centre.
    """
    beyond = center.square() - 0.5
    return (beyond >= 0) & (corner >= 0.5 - beyond.clamp_min(0).sqrt())


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

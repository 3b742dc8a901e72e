"""Blending without gradients, for looking and measuring: small tiles, many at a time, in rounds.

Each tile of 8 x 8 pixels has its list of Gaussians, nearest first. A batch of tiles takes the next
few Gaussians of its lists at once as dense tensors; tiles whose pixels are all finished leave the
batch. What is hidden behind a surface is therefore never evaluated, nothing is sorted but pairs of
tile and Gaussian, and the tensors of one round stay in the cache. Where there are too many pairs
for the memory, the Gaussians are taken in slices of depth, nearest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from miner.rendering.fragments import (
    MAX_ALPHA,
    MIN_TRANSMITTANCE,
    expand,
    pixel_range,
)
from miner.rendering.projection import MIN_ALPHA, Footprints

TILE_PX = 8
ROUND = 16
"""Gaussians blended into a tile before asking whether it is finished."""

MAX_PAIRS = 4_000_000
"""Pairs of tile and Gaussian listed at once, at about 60 bytes each."""

_BATCH_TILES = {"cpu": 128, "cuda": 16_384}
"""Tiles blended together: on the CPU one round's tensors (0.5 MB each) should stay in the cache."""

_NEVER = -1e9
"""Logarithm of the opacity of the entry that fills up short lists."""


@dataclass(frozen=True, eq=False)
class _Grid:
    """The tiles of a picture, numbered row by row."""

    columns: int
    rows: int

    def centers(self, tiles: Tensor) -> Tensor:
        """[T,2] middle of each tile in pixels."""
        corner = torch.stack([tiles % self.columns, tiles // self.columns], dim=-1)
        return (corner + 0.5) * TILE_PX


@dataclass(frozen=True, eq=False)
class _Boxes:
    """The tiles that each of M Gaussians touches; int64."""

    x_low: Tensor
    y_low: Tensor
    columns: Tensor
    rows: Tensor


@dataclass(frozen=True, eq=False)
class _Lists:
    """The Gaussians of tile t are ``gaussian[start[t] : start[t] + count[t]]``, nearest first."""

    gaussian: Tensor
    start: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class _Canvas:
    """What is done so far; written to by ``_blend_tiles`` only.

    Attributes:
        blended: [T,64,C+1] colours and alpha.
        light: [T,64] the product of 1 - alpha.
    """

    blended: Tensor
    light: Tensor

    def unfinished(self) -> Tensor:
        """[T] bool, tiles with a pixel that still lets light through."""
        return (self.light > MIN_TRANSMITTANCE).any(dim=1)


@torch.no_grad()
def blend(
    footprints: Footprints, width: int, height: int, max_pairs: int = MAX_PAIRS
) -> tuple[Tensor, Tensor]:
    """The same result as ``fragments.blend`` up to rounding, without a graph for gradients."""
    grid = _Grid(-(-width // TILE_PX), -(-height // TILE_PX))
    table = _table(footprints)
    tile_count, pixels = grid.rows * grid.columns, TILE_PX * TILE_PX
    canvas = _Canvas(
        table.new_zeros(tile_count, pixels, table.shape[1] - 6), table.new_ones(tile_count, pixels)
    )
    batch = _BATCH_TILES.get(table.device.type, _BATCH_TILES["cuda"])
    boxes = _boxes(footprints, width, height)
    for gaussians in _depth_slices(boxes, max_pairs):
        unfinished = canvas.unfinished()
        if not unfinished.any():
            break
        lists = _tile_lists(gaussians, boxes, grid, unfinished)
        # Longest lists first: the tiles of a batch then need about the same number of rounds.
        tiles = torch.argsort(lists.count, descending=True)
        for part in torch.split(tiles[: int((lists.count > 0).sum())], batch):
            _blend_tiles(part, lists, table, grid, canvas)
    picture = canvas.blended.reshape(grid.rows, grid.columns, TILE_PX, TILE_PX, -1).transpose(1, 2)
    picture = picture.reshape(grid.rows * TILE_PX, grid.columns * TILE_PX, -1)[:height, :width]
    return picture[..., :-1], picture[..., -1:]


def _table(footprints: Footprints) -> Tensor:
    """[M + 1, 6 + C + 1]: centre, conic, log opacity, colours, one. The last row never shows."""
    columns = [
        footprints.means2d,
        footprints.conics,
        footprints.opacities.log().unsqueeze(1),
        footprints.colors,
        torch.ones_like(footprints.means2d[:, :1]),
    ]
    table = torch.cat(columns, dim=1)
    never = table.new_zeros(1, table.shape[1])
    never[0, 5] = _NEVER
    return torch.cat([table, never])


def _boxes(footprints: Footprints, width: int, height: int) -> _Boxes:
    low_high = []
    for axis, size in enumerate((width, height)):
        low, high = pixel_range(footprints.means2d[:, axis], footprints.extents[:, axis], size)
        touched = torch.where(high >= low, high // TILE_PX - low // TILE_PX + 1, 0)
        low_high.append((low // TILE_PX, touched))
    (x_low, columns), (y_low, rows) = low_high
    return _Boxes(x_low, y_low, columns, rows)


def _depth_slices(boxes: _Boxes, max_pairs: int) -> tuple[Tensor, ...]:
    """Consecutive Gaussians (int64 indices) with about ``max_pairs`` pairs in each slice."""
    pairs = boxes.columns * boxes.rows
    sizes = torch.bincount((pairs.cumsum(0) - pairs) // max_pairs).tolist()
    indices = torch.arange(len(pairs), device=pairs.device)
    return torch.split(indices, [size for size in sizes if size])


def _tile_lists(gaussians: Tensor, boxes: _Boxes, grid: _Grid, wanted: Tensor) -> _Lists:
    """The lists of all tiles, of these Gaussians only; of tiles that are not wanted, empty ones."""
    item, offset = expand((boxes.columns * boxes.rows)[gaussians])
    gaussian = gaussians[item]
    columns = boxes.columns[gaussian]
    x, y = boxes.x_low[gaussian] + offset % columns, boxes.y_low[gaussian] + offset // columns
    tile = y * grid.columns + x
    kept = torch.nonzero(wanted[tile]).squeeze(1)
    gaussian, tile = gaussian[kept], tile[kept]
    # Stable, because the pairs come in order of depth; 32-bit keys take the quick radix sort.
    order = torch.sort(tile.to(torch.int32), stable=True).indices
    count = torch.bincount(tile, minlength=grid.rows * grid.columns)
    return _Lists(gaussian[order], count.cumsum(0) - count, count)


def _blend_tiles(tiles: Tensor, lists: _Lists, table: Tensor, grid: _Grid, canvas: _Canvas) -> None:
    """Blend the lists of some tiles into the canvas, in rounds until each tile is finished."""
    slots = torch.arange(ROUND, device=tiles.device)
    done = 0
    while len(tiles):
        slot = done + slots
        index = (lists.start[tiles].unsqueeze(1) + slot).clamp_max(len(lists.gaussian) - 1)
        exists = slot < lists.count[tiles].unsqueeze(1)
        entries = table[torch.where(exists, lists.gaussian[index], len(table) - 1)]
        alphas = _alphas(entries, grid.centers(tiles))
        # One row more than alphas: the light before and after each Gaussian.
        light = torch.cat([canvas.light[tiles].unsqueeze(1), 1.0 - alphas], dim=1).cumprod(dim=1)
        weights = alphas * light[:, :-1] * (light[:, 1:] > MIN_TRANSMITTANCE)
        canvas.blended[tiles] += weights.mT @ entries[..., 6:]
        canvas.light[tiles] = light[:, -1]
        done += ROUND
        unfinished = (light[:, -1] > MIN_TRANSMITTANCE).any(dim=1)
        tiles = tiles[unfinished & (lists.count[tiles] > done)]


def _alphas(entries: Tensor, centers: Tensor) -> Tensor:
    """[T,K,64] alphas of the entries [T,K,6+] on the pixels of tiles with these centres.

    With pixels (x, y) counted from the middle of the tile, log alpha is a polynomial in 1, x, y,
    x^2, xy, y^2: its values on all pixels are one matrix product.
    """
    mean_x, mean_y, a, b, c, log_opacity = entries[..., :6].unbind(-1)
    u, v = mean_x - centers[:, :1], mean_y - centers[:, 1:]
    slope_x, slope_y = a * u + b * v, b * u + c * v
    constant = log_opacity - 0.5 * (slope_x * u + slope_y * v)
    terms = torch.stack([constant, slope_x, slope_y, -0.5 * a, -b, -0.5 * c], dim=-1)
    alphas = (terms @ _monomials(entries)).exp_().clamp_max_(MAX_ALPHA)
    return F.threshold(alphas, MIN_ALPHA, 0.0, inplace=True)


def _monomials(like: Tensor) -> Tensor:
    """[6,64] 1, x, y, x^2, xy, y^2 of a tile's pixel centres counted from its middle."""
    steps = torch.arange(TILE_PX).to(like) + 0.5 - 0.5 * TILE_PX
    y, x = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])

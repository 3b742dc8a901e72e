"""Blending without gradients, for looking and measuring: small tiles, many at a time, in rounds.

Each tile of 8 x 8 pixels has its list of Gaussians, nearest first. A batch of tiles takes the next
few Gaussians of its lists at once as dense tensors; tiles whose pixels are all finished leave the
batch. What is hidden behind a surface is therefore never evaluated, nothing is sorted but pairs of
tile and Gaussian, and the tensors of one round stay in the cache.
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
    row_bands,
)
from miner.rendering.projection import MIN_ALPHA, Footprints

TILE_PX = 8
ROUND = 16
"""Gaussians blended into a tile before asking whether it is finished."""

MAX_PAIRS = 4_000_000
"""Pairs of tile and Gaussian listed at once (a picture with more is done in bands)."""

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
class _Lists:
    """The Gaussians of tile t are ``gaussian[start[t] : start[t] + count[t]]``, nearest first."""

    gaussian: Tensor
    start: Tensor
    count: Tensor


@torch.no_grad()
def blend(
    footprints: Footprints, width: int, height: int, max_pairs: int = MAX_PAIRS
) -> tuple[Tensor, Tensor]:
    """The same result as ``fragments.blend`` up to rounding, without a graph for gradients."""
    grid = _Grid(-(-width // TILE_PX), -(-height // TILE_PX))
    table = _table(footprints)
    out = table.new_zeros(grid.rows * grid.columns, TILE_PX * TILE_PX, table.shape[1] - 6)
    batch = _BATCH_TILES.get(table.device.type, _BATCH_TILES["cuda"])
    x_range = _tile_range(footprints, 0, width)
    y_range = _tile_range(footprints, 1, height)
    for top, bottom in row_bands(*y_range, x_range[1] - x_range[0] + 1, grid.rows, max_pairs):
        lists = _tile_lists(x_range, y_range, grid, top, bottom)
        # Longest lists first: the tiles of a batch then need about the same number of rounds.
        tiles = torch.argsort(lists.count, descending=True)
        for part in torch.split(tiles[: int((lists.count > 0).sum())], batch):
            out[part] = _blend_tiles(part, lists, table, grid)
    picture = out.reshape(grid.rows, grid.columns, TILE_PX, TILE_PX, -1).transpose(1, 2)
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


def _tile_range(footprints: Footprints, axis: int, size: int) -> tuple[Tensor, Tensor]:
    """First and last tile that each footprint's box touches along x (0) or y (1)."""
    low, high = pixel_range(footprints.means2d[:, axis], footprints.extents[:, axis], size)
    low_tile, high_tile = low // TILE_PX, high // TILE_PX
    return low_tile, torch.where(high >= low, high_tile, low_tile - 1)


def _tile_lists(
    x_range: tuple[Tensor, Tensor],
    y_range: tuple[Tensor, Tensor],
    grid: _Grid,
    top: int,
    bottom: int,
) -> _Lists:
    """The lists of all tiles; those outside the tile rows top..bottom stay empty."""
    x_low, columns = x_range[0], x_range[1] - x_range[0] + 1
    y_low, y_high = y_range[0].clamp_min(top), y_range[1].clamp_max(bottom - 1)
    gaussian, offset = expand((y_high - y_low + 1).clamp_min(0) * columns)
    columns = columns[gaussian]
    tile = (y_low[gaussian] + offset // columns) * grid.columns + x_low[gaussian] + offset % columns
    # Stable, because the pairs come in order of depth.
    order = torch.sort(tile.to(torch.int32), stable=True).indices
    count = torch.bincount(tile, minlength=grid.rows * grid.columns)
    return _Lists(gaussian[order], count.cumsum(0) - count, count)


def _blend_tiles(tiles: Tensor, lists: _Lists, table: Tensor, grid: _Grid) -> Tensor:
    """[T,64,C+1] colours and alpha of the tiles, in rounds until each is finished."""
    light = table.new_ones(len(tiles), TILE_PX * TILE_PX)
    out = table.new_zeros(len(tiles), TILE_PX * TILE_PX, table.shape[1] - 6)
    start, count, centers = lists.start[tiles], lists.count[tiles], grid.centers(tiles)
    slots = torch.arange(ROUND, device=tiles.device)
    active, done = torch.arange(len(tiles), device=tiles.device), 0
    while len(active):
        slot = done + slots
        exists = slot < count[active].unsqueeze(1)
        index = (start[active].unsqueeze(1) + slot).clamp_max(len(lists.gaussian) - 1)
        entries = table[torch.where(exists, lists.gaussian[index], len(table) - 1)]
        alphas = _alphas(entries, centers[active])
        # One row more than alphas: the light before and after each Gaussian.
        lights = torch.cat([light[active].unsqueeze(1), 1.0 - alphas], dim=1).cumprod(dim=1)
        weights = alphas * lights[:, :-1] * (lights[:, 1:] > MIN_TRANSMITTANCE)
        out[active] += weights.mT @ entries[..., 6:]
        light[active] = lights[:, -1]
        done += ROUND
        unfinished = (lights[:, -1] > MIN_TRANSMITTANCE).any(dim=1) & (count[active] > done)
        active = active[unfinished]
    return out


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

"""Differentiable blending with a sorted list of fragments: one entry for each Gaussian and pixel.

Every footprint is cut into rows and every row into the pixels that it can reach, so that the list
holds hardly more than what is blended. Sorted by pixel (nearest first within one), the
transmittance is a segmented cumulative sum, and autograd does the rest. Where the list would not
fit into the memory, the picture is cut into bands and each band's list is built again in the
backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from miner.rendering.projection import MIN_ALPHA, Footprints

MAX_ALPHA = 0.999
"""No Gaussian hides all that lies behind it; keeps 1 - alpha away from zero."""

MIN_TRANSMITTANCE = 1e-4
"""A pixel is finished when the next Gaussian would leave no more light than this."""

MAX_FRAGMENTS = 2_000_000
"""Candidates held at once, at about 150 bytes each while gradients are recorded."""


@dataclass(frozen=True, eq=False)
class _Fragments:
    """F contributions sorted by pixel, then by depth. All int64, no gradient."""

    gaussian: Tensor
    pixel: Tensor
    x: Tensor
    y: Tensor


def blend(
    footprints: Footprints, width: int, height: int, max_fragments: int = MAX_FRAGMENTS
) -> tuple[Tensor, Tensor]:
    """Front-to-back blending of footprints (3DGS, equation 3), differentiable.

    Returns:
        colours [H,W,C], premultiplied (black where nothing is), and alpha [H,W,1] in [0,1).
    """
    bands = _bands(footprints, width, height, max_fragments)
    table = torch.cat(
        [footprints.means2d, footprints.conics, footprints.opacities.unsqueeze(1)], dim=1
    )
    repeat = len(bands) > 1 and torch.is_grad_enabled()
    pieces = []
    for top, bottom in bands:
        arguments = (footprints, table, footprints.colors, width, top, bottom)
        pieces.append(
            checkpoint(_blend_band, *arguments, use_reentrant=False, preserve_rng_state=False)
            if repeat
            else _blend_band(*arguments)
        )
    blended = torch.cat(pieces).reshape(height, width, -1)
    return blended[..., :-1], blended[..., -1:]


def row_bands(
    low: Tensor, high: Tensor, widths: Tensor, rows: int, budget: int
) -> list[tuple[int, int]]:
    """Cut the rows 0..rows into bands of at most ``budget`` cells, for boxes that span rows.

    Args:
        low: [M] int64, first row of each box.
        high: [M] int64, its last row, inclusive (first - 1 if it has none).
        widths: [M] int64, cells of the box on each of its rows.
        rows: how many rows there are.
        budget: cells in one band; a single row that holds more is a band of its own.
    """
    steps = torch.zeros(rows + 1, dtype=torch.int64, device=widths.device)
    steps.index_add_(0, low, widths)
    steps.index_add_(0, high + 1, -widths)
    bands, top, held = [], 0, 0
    for row, cells in enumerate(steps.cumsum(0)[:rows].tolist()):
        if row > top and held + cells > budget:
            bands.append((top, row))
            top, held = row, 0
        held += cells
    return [*bands, (top, rows)]


def pixel_range(centers: Tensor, extents: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel (int64, inclusive) whose centre lies within centre +- extent.

    Where there is none, last = first - 1; both stay where a range of rows may be indexed.
    """
    low = torch.ceil(centers - extents - 0.5).clamp(0, size).long()
    high = torch.floor(centers + extents - 0.5).clamp(-1, size - 1).long()
    return low, torch.maximum(high, low - 1)


def _bands(footprints: Footprints, width: int, height: int, budget: int) -> list[tuple[int, int]]:
    centers = footprints.means2d.detach()
    x_low, x_high = pixel_range(centers[:, 0], footprints.extents[:, 0], width)
    y_low, y_high = pixel_range(centers[:, 1], footprints.extents[:, 1], height)
    return row_bands(y_low, y_high, x_high - x_low + 1, height, budget)


def _blend_band(
    footprints: Footprints, table: Tensor, colors: Tensor, width: int, top: int, bottom: int
) -> Tensor:
    """[(bottom - top) * W, C + 1] colours and alpha of the rows top..bottom."""
    with torch.no_grad():
        fragments = _select(footprints, table, width, top, bottom)
    alphas = _alphas(fragments, table)
    weights = (alphas * _transmittance(alphas, fragments.pixel)).unsqueeze(1)
    shown = colors.index_select(0, fragments.gaussian)
    contributions = torch.cat([weights * shown, weights], dim=1)
    out = contributions.new_zeros((bottom - top) * width, contributions.shape[1])
    return out.index_add(0, fragments.pixel, contributions)


def _select(footprints: Footprints, table: Tensor, width: int, top: int, bottom: int) -> _Fragments:
    """The fragments that show of the rows top..bottom: alpha >= 1/255, before a pixel's end."""
    row_gaussian, y = _rows(footprints, top, bottom)
    x_low, x_high = _row_spans(footprints, row_gaussian, y, width)
    row, offset = expand(x_high - x_low + 1)
    x, y, gaussian = (values.index_select(0, row) for values in (x_low, y, row_gaussian))
    x += offset
    fragments = _Fragments(gaussian, (y - top) * width + x, x, y)
    alphas = _alphas(fragments, table)
    # Gaussians are numbered by depth and the list is in their order: a stable sort keeps it.
    # 32-bit keys take torch's radix sort on the CPU.
    seen = torch.nonzero(alphas >= MIN_ALPHA).squeeze(1)
    pixel = fragments.pixel.index_select(0, seen).to(torch.int32)
    pixel, order = torch.sort(pixel, stable=True)
    seen = seen.index_select(0, order)
    alphas = alphas.index_select(0, seen)
    # Those behind the point where a pixel is finished are usually the most.
    after = _transmittance(alphas, pixel) * (1.0 - alphas)
    return _take(fragments, seen[after > MIN_TRANSMITTANCE])


def _rows(footprints: Footprints, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    """One entry for each Gaussian and row of the band: its number, and y."""
    low, high = pixel_range(
        footprints.means2d[:, 1].detach() - top, footprints.extents[:, 1], bottom - top
    )
    gaussian, offset = expand(high - low + 1)
    return gaussian, low.index_select(0, gaussian) + offset + top


def _row_spans(
    footprints: Footprints, gaussian: Tensor, y: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """First and last x within the ellipse on each row.

    With dy known, a dx^2 + 2 b dx dy + c dy^2 = cutoff is a quadratic equation in dx.
    """
    a, b, c = footprints.conics.detach().index_select(0, gaussian).unbind(-1)
    center = footprints.means2d.detach().index_select(0, gaussian)
    cutoff = footprints.cutoffs.index_select(0, gaussian)
    dy = y + 0.5 - center[:, 1]
    discriminant = a * cutoff - (a * c - b * b) * dy * dy
    # A hair wider than the ellipse: rounding must not lose a pixel, alpha is tested afterwards.
    half = discriminant.clamp_min(0.0).sqrt() / a + 1e-3
    return pixel_range(center[:, 0] - b * dy / a, half, width)


def expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Item i repeated counts[i] times, and 0, 1, 2, ... within each repetition."""
    item = torch.repeat_interleave(counts)
    starts = counts.cumsum(0) - counts
    return item, torch.arange(len(item), device=item.device) - starts.index_select(0, item)


def _alphas(fragments: _Fragments, table: Tensor) -> Tensor:
    center_x, center_y, a, b, c, opacity = table.index_select(0, fragments.gaussian).unbind(-1)
    dx = fragments.x + 0.5 - center_x
    dy = fragments.y + 0.5 - center_y
    return (opacity * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp_max(
        MAX_ALPHA
    )


def _transmittance(alphas: Tensor, pixel: Tensor) -> Tensor:
    """Light left in front of each fragment: the product of 1 - alpha of those before it.

    The running sum crosses all pixels of the band, hence float64: what one pixel needs is a small
    difference of large numbers.
    """
    logs = torch.log1p(-alphas.double())
    before = logs.cumsum(0) - logs
    is_first = torch.ones_like(pixel, dtype=torch.bool)
    is_first[1:] = pixel[1:] != pixel[:-1]
    first = torch.nonzero(is_first).squeeze(1)
    number = is_first.cumsum(0) - 1
    light_of_pixel = before.index_select(0, first)
    return torch.exp(before - light_of_pixel.index_select(0, number)).to(alphas.dtype)


def _take(fragments: _Fragments, index: Tensor) -> _Fragments:
    # index_select: several times as fast as brackets on a CPU, forwards and backwards.
    return _Fragments(
        fragments.gaussian.index_select(0, index),
        fragments.pixel.index_select(0, index),
        fragments.x.index_select(0, index),
        fragments.y.index_select(0, index),
    )

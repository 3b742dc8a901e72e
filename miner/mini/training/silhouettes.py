"""Silhouettes of fields and of splats, brought to a common frame, and how far two of them agree."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from miner.triposr.field import Field

from .world.march import camera_rays

Mask = NDArray[np.bool_]

GRID = 64
"""Samples of the field along each axis; rays interpolate their log density."""


@torch.no_grad()
def field_grid(field: Field) -> torch.Tensor:
    """Log density [1,1,GRID,GRID,GRID] over the field's box, axes z, y, x as grid_sample wants."""
    ticks = torch.linspace(-field.radius, field.radius, GRID)
    z, y, x = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    density = field.density(torch.stack([x, y, z], -1).reshape(-1, 3))
    return density.reshape(1, 1, GRID, GRID, GRID).clamp(min=1e-9).log()


@torch.no_grad()
def field_silhouette(
    grid: torch.Tensor,
    radius: float,
    azimuth_deg: float,
    elevation_deg: float,
    size: int,
    threshold: float = 25.0,
) -> Mask:
    """Where [size,size] rays of the world's camera meet density above the threshold."""
    origin, directions = camera_rays(azimuth_deg, elevation_deg, size)
    steps = torch.linspace(1.9 - 1.1, 1.9 + 1.1, 128)
    o, d = torch.from_numpy(origin), torch.from_numpy(directions)
    points = (o + steps[:, None, None] * d) / radius
    inside = (points.abs() <= 1).all(-1)
    values = F.grid_sample(grid, points[None, None], align_corners=True)[0, 0, 0]
    hit = ((values > np.log(threshold)) & inside).any(0)
    return np.asarray(hit.reshape(size, size).numpy())


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union; two empty masks agree."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def framed(mask: Mask, size: int = 48) -> Mask:
    """The mask cropped to its bounding square and resized: position and size taken out."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros((size, size), bool)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left)
    square = np.zeros((side, side), np.uint8)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = mask[top:bottom, left:right]
    resized = Image.fromarray(square * 255).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(np.asarray(resized) > 127)

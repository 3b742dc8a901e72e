"""The picture that a fit is given, as the known view wants it: framed, scaled, on a background."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from miner.errors import BadOutput

STAGE = "dreamgaussian"

FAINT = 0.02
"""Coverage below this is taken for none when the object's box is sought."""


def framed(cutout: Image.Image, size: int, foreground_ratio: float) -> Tensor:
    """The object in the middle of a square picture.

    Args:
        cutout: RGBA, alpha the object's coverage.
        size: side of the result in pixels.
        foreground_ratio: longer side of the object's box over ``size``.

    Returns:
        [size,size,4] float32 on the CPU, RGB in [0,1] (not premultiplied) and coverage.

    Raises:
        BadOutput: there is no object.
    """
    rgba = torch.from_numpy(np.array(cutout.convert("RGBA"), np.float32) / np.float32(255))
    covered = rgba[..., 3] > FAINT
    if not covered.any():
        raise BadOutput(STAGE, "the picture holds no object: it is clear everywhere")
    rows, columns = (torch.nonzero(covered.any(dim=axis)).squeeze(1) for axis in (1, 0))
    box = rgba[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    # Premultiplied, so that no colour of clear pixels bleeds into the edge.
    box = torch.cat([box[..., :3] * box[..., 3:], box[..., 3:]], dim=-1)
    height, width = box.shape[:2]
    scale = foreground_ratio * size / max(height, width)
    sides = [max(1, round(side * scale)) for side in (height, width)]
    small = F.interpolate(
        box.permute(2, 0, 1)[None], sides, mode="bilinear", align_corners=False, antialias=True
    )[0].permute(1, 2, 0)
    picture = torch.zeros(size, size, 4)
    top, left = ((size - side) // 2 for side in sides)
    picture[top : top + sides[0], left : left + sides[1]] = small
    alpha = picture[..., 3:]
    colors = torch.where(alpha > 0, picture[..., :3] / alpha.clamp_min(1e-6), 0.0)
    return torch.cat([colors.clamp(0, 1), alpha.clamp(0, 1)], dim=-1)


def over(rgba: Tensor, background: Tensor) -> Tensor:
    """[...,3] of RGB with coverage [...,4] over a colour [3]."""
    return rgba[..., :3] * rgba[..., 3:] + background * (1.0 - rgba[..., 3:])

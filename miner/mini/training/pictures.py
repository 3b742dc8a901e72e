"""The pictures that the small FLUX learns to paint: an object on the world's plain background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .dataset import SIZE, Objects

BACKGROUND = (0.80, 0.84, 0.88)
"""A pale blue grey that none of the named colours comes near, lit or not."""

FRAME = (0.70, 0.82)
"""Share of the side an object takes when the caption says nothing of its size."""

RENDERED = 0.85
"""Share that the object takes in the stored pictures (``world.draw.refit``)."""


def compose(
    rgba: NDArray[np.uint8], frame: float, background: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """One picture [64,64,3] uint8 from a stored RGBA one, the object scaled to ``frame``."""
    premultiplied = rgba.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    side = max(8, round(SIZE * min(frame / RENDERED, 1.0)))
    planes = [
        np.asarray(
            Image.fromarray(premultiplied[..., i]).resize((side, side), Image.Resampling.BOX)
        )
        for i in range(4)
    ]
    small = np.stack(planes, -1)
    canvas = np.zeros((SIZE, SIZE, 4), np.float32)
    at = (SIZE - side) // 2
    canvas[at : at + side, at : at + side] = small
    rgb = canvas[..., :3] + background * 255 * (1 - canvas[..., 3:] / 255)
    return np.clip(rgb + 0.5, 0, 255).astype(np.uint8)


def paint_all(data: Objects, seed: int) -> NDArray[np.uint8]:
    """Pictures [N,64,64,3] uint8 of all objects, sizes as their captions say or drawn."""
    rng = np.random.default_rng(seed)
    out = np.empty((len(data.rgba), SIZE, SIZE, 3), np.uint8)
    for i, rgba in enumerate(data.rgba):
        frame = float(data.frames[i]) or rng.uniform(*FRAME)
        background = np.array(BACKGROUND, np.float32) + rng.uniform(-0.012, 0.012)
        out[i] = compose(rgba, min(frame, RENDERED), background.astype(np.float32))
    return out


def masks_of(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where [N,64,64] pictures differ from the background by more than its jitter."""
    gap = np.abs(pictures.astype(np.float32) / 255 - np.array(BACKGROUND, np.float32)).max(-1)
    return np.asarray(gap > 0.05)

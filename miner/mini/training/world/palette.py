"""The colours of the world, how a surface is lit, and which colour a lit picture shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.13, 0.62, 0.18),
    "blue": (0.12, 0.25, 0.85),
    "yellow": (0.95, 0.86, 0.12),
    "orange": (0.96, 0.50, 0.06),
    "purple": (0.52, 0.18, 0.72),
    "pink": (0.96, 0.52, 0.72),
    "cyan": (0.12, 0.80, 0.86),
    "brown": (0.43, 0.25, 0.12),
    "white": (0.94, 0.94, 0.94),
    "black": (0.08, 0.08, 0.08),
    "grey": (0.50, 0.50, 0.50),
}
NAMES = tuple(COLORS)

JITTER = 0.035
"""Half width of the uniform jitter of a base colour; small enough that no two names overlap."""

AMBIENT, DIFFUSE = 0.60, 0.40
"""Lit colour = base * (AMBIENT + DIFFUSE * (0.5 + 0.5 n.l)): white never gets as dark as grey."""

LIGHT: Array = np.array([0.62, -0.38, 0.69], np.float32)
"""Direction to the light in TripoSR's native frame: from the front, the left and above."""


def shade(normals: Array) -> Array:
    """Light factor [P] of unit normals [P,3], in [AMBIENT, AMBIENT + DIFFUSE]."""
    wrapped = 0.5 + 0.5 * (normals @ LIGHT)
    return np.asarray(AMBIENT + DIFFUSE * wrapped, np.float32)


def name_pixels(rgb: Array) -> NDArray[np.int64]:
    """Index in ``NAMES`` of the colour of which each lit pixel [P,3] is nearest to some shade."""
    base = np.array(list(COLORS.values()), np.float32)
    levels = np.linspace(AMBIENT, AMBIENT + DIFFUSE, 5, dtype=np.float32)
    shades = base[:, None, :] * levels[None, :, None]
    gap = np.square(rgb[:, None, None, :] - shades[None]).sum(-1).min(-1)
    return np.asarray(gap.argmin(-1), np.int64)


def dominant_color(rgb: Array, alpha: Array) -> str:
    """The name most pixels vote for; rgb [H,W,3] not premultiplied, alpha [H,W], both in [0,1]."""
    solid = alpha > 0.8
    if not solid.any():
        return "none"
    votes = np.bincount(name_pixels(rgb[solid]), minlength=len(NAMES))
    return NAMES[int(votes.argmax())]

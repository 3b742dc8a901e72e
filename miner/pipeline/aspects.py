"""Sides of pictures by aspect: the area of the preset's square, in multiples a model takes."""

from __future__ import annotations

import math

from miner.errors import BadOption

ASPECTS: dict[str, tuple[int, int]] = {
    "1:1": (1, 1),
    "16:9": (16, 9),
    "9:16": (9, 16),
    "4:3": (4, 3),
    "3:4": (3, 4),
    "3:2": (3, 2),
    "2:3": (2, 3),
    "5:4": (5, 4),
    "4:5": (4, 5),
    "21:9": (21, 9),
}
"""Width to height. Splats are made from 1:1."""


def sides(aspect: str, square_px: int, multiple_px: int) -> tuple[int, int]:
    """Width and height in pixels.

    Both are multiples of ``multiple_px``, as near as that allows to the aspect and to the area of
    the square.

    Args:
        aspect: a key of ``ASPECTS``.
        square_px: side of the picture that is 1:1.
        multiple_px: that the model takes.

    Raises:
        BadOption: an aspect that is not in the table.
    """
    if aspect not in ASPECTS:
        raise BadOption(f"unknown aspect {aspect!r}; there are: {', '.join(ASPECTS)}")
    wide, high = ASPECTS[aspect]
    unit = square_px / math.sqrt(wide * high)
    width, height = (max(1, round(unit * part / multiple_px)) for part in (wide, high))
    return width * multiple_px, height * multiple_px

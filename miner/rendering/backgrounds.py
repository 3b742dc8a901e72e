"""Colours that a person may ask for behind the object."""

from __future__ import annotations

import re

from PIL import ImageColor

from miner.errors import BadOption


def background_color(name: str) -> tuple[float, float, float]:
    """RGB in [0,1] of a colour's CSS name or of ``#rrggbb``; capitals do not matter.

    Raises:
        BadOption: neither.
    """
    text = name.strip().lower()
    if text not in ImageColor.colormap and not re.fullmatch(r"#[0-9a-f]{6}", text):
        raise BadOption(f"no background {name!r}: give a name such as white or gray, or #rrggbb")
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red / 255.0, green / 255.0, blue / 255.0

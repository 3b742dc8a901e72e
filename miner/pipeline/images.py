"""Reading a picture that somebody else made, without trusting it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from miner.errors import BadImage

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 4096 * 4096
"""Beyond this a picture costs a gigabyte to handle, and the models look at 512 px at most."""
MIN_SIDE_PX = 8
FORMATS = ("PNG", "JPEG", "WEBP")


def load_image(source: Path | bytes) -> Image.Image:
    """The first frame of a PNG, JPEG or WebP picture, upright, as 8-bit RGB or RGBA.

    Args:
        source: a file, or its contents.

    Raises:
        BadImage: unreadable, of another type, truncated, or beyond the limits of this module.
    """
    data = source if isinstance(source, bytes) else _read(source)
    if len(data) > MAX_BYTES:
        raise BadImage(f"the picture has over {MAX_BYTES // 2**20} MiB; make it smaller")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; the limit below is tighter than its own.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _check_size(picture.size)
                picture.seek(0)
                return _eight_bit(ImageOps.exif_transpose(picture))
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"the picture has over {MAX_PIXELS} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise BadImage("not a picture of a known type; give a PNG, JPEG or WebP file") from error
    except Exception as error:  # decoders raise anything on damaged files
        raise BadImage(f"the picture is damaged and cannot be read: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadImage(f"{path}: cannot be read: {error.strerror}") from error


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadImage(f"the picture has {width} x {height} px, over {MAX_PIXELS}; make it smaller")
    if min(width, height) < MIN_SIDE_PX:
        raise BadImage(f"the picture has {width} x {height} px; {MIN_SIDE_PX} a side at least")


def _eight_bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips instead of scaling.
        picture = Image.fromarray((np.asarray(picture, np.float32) / 257).clip(0, 255).astype("u1"))
    transparent = picture.has_transparency_data
    return picture.convert("RGBA" if transparent else "RGB")

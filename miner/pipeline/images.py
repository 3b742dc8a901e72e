"""Reading a picture that somebody else made, without trusting it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from miner.errors import BadImage
from miner.pipeline.image_header import MAX_BYTES, MAX_PIXELS, check_bytes, check_size

FORMATS = ("PNG", "JPEG", "WEBP")


def load_image(source: Path | bytes) -> Image.Image:
    """The first frame of a PNG, JPEG or WebP picture, upright, as 8-bit RGB or RGBA.

    Args:
        source: a file, or its contents.

    Raises:
        BadImage: unreadable, of another type, truncated, or beyond the limits of ``image_header``.
    """
    data = source if isinstance(source, bytes) else _read(source)
    check_bytes(len(data))
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; the limit below is tighter than its own.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                check_size(picture.size)
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


def _eight_bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips instead of scaling.
        picture = Image.fromarray((np.asarray(picture, np.float32) / 257).clip(0, 255).astype("u1"))
    transparent = picture.has_transparency_data
    return picture.convert("RGBA" if transparent else "RGB")

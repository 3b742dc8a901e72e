"""Pictures of strangers: what is read, how, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miner.errors import BadImage
from miner.pipeline.images import load_image


def noise(side: int) -> Image.Image:
    """A grey picture that compresses badly."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), np.uint8))


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_common_formats_are_read(format: str) -> None:
    """PNG, JPEG and WebP come back as RGB of the same size."""
    read = load_image(encoded(Image.new("RGB", (20, 30), "red"), format))

    assert (read.mode, read.size) == ("RGB", (20, 30))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16"])
def test_other_modes_become_rgb_or_rgba(mode: str) -> None:
    """Grey, palette, bilevel and 16-bit pictures become 8-bit RGB, transparent ones RGBA."""
    read = load_image(encoded(Image.new(mode, (16, 16))))

    assert read.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """Middle grey in 16 bits is middle grey in 8."""
    grey = np.full((16, 16), 32768, np.uint16)

    assert load_image(encoded(Image.fromarray(grey))).getpixel((0, 0)) == (127, 127, 127)


def test_a_turned_photograph_is_made_upright() -> None:
    """The orientation in the EXIF data is applied."""
    exif = Image.Exif()
    exif[0x0112] = 6
    read = load_image(encoded(Image.new("RGB", (20, 30)), "JPEG", exif=exif))

    assert read.size == (30, 20)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    """An animated WebP gives its first frame."""
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)

    assert load_image(data).getpixel((5, 5))[:3] == (255, 0, 0)  # type: ignore[index]


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """A small file that claims 60,000 x 60,000 pixels is refused by its header alone."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(BadImage, match=r"pixels|px"):
        load_image(bomb)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a picture"),
        (b"hello", "not a picture"),
        (b"%PDF-1.4 and so on", "not a picture"),
        (b"GIF89a" + bytes(50), "not a picture"),
        (bytes(21 * 2**20), "20 MiB"),
        (encoded(Image.new("RGB", (4, 400))), "8 a side"),
        (encoded(noise(64))[:-900], "damaged"),
    ],
)
def test_what_is_no_usable_picture_is_refused(data: bytes, why: str) -> None:
    """Other types, wrong sizes and truncated files are refused with a reason."""
    with pytest.raises(BadImage, match=why):
        load_image(data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path without a file, or of a folder, is an error that names it."""
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(BadImage, match=path.name):
            load_image(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_anywhere_is_survived(data: st.DataObject) -> None:
    """Whatever bytes of a picture change, the answer is a picture or BadImage."""
    whole = bytearray(encoded(noise(16).convert("RGB")))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadImage):
        assert load_image(bytes(whole)).mode in ("RGB", "RGBA")

"""Headers of pictures: the size the decoder would find, refusals without decoding, no surprises."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from miner.errors import BadImage
from miner.pipeline.image_header import MAX_BYTES, check_header

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "comment": b"x" * 60_000, "icc_profile": b"y" * 200_000}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\x00\x00" + b"z" * 100}),
]


def encoded(size: tuple[int, int], format: str, **options: Any) -> bytes:
    """The bytes of a picture file of that size."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("format", "options"), KINDS)
@pytest.mark.parametrize("size", [(8, 8), (300, 9), (257, 1024)])
def test_the_size_is_read(size: tuple[int, int], format: str, options: dict[str, Any]) -> None:
    """The header gives the width and height that the decoder finds, for every kind of file."""
    assert check_header(encoded(size, format, **options)) == size


@pytest.mark.parametrize(("format", "options"), KINDS)
@pytest.mark.parametrize("size", [(7, 100), (100, 7), (4097, 4096)])
def test_sizes_beyond_the_limits_are_refused(
    size: tuple[int, int], format: str, options: dict[str, Any]
) -> None:
    """Too small and too large pictures are refused by their header alone."""
    with pytest.raises(BadImage, match=f"{size[0]} x {size[1]} px"):
        check_header(encoded(size, format, **options)[:300_000])


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF"])
def test_other_types_are_refused(format: str) -> None:
    """Only PNG, JPEG and WebP are taken."""
    with pytest.raises(BadImage, match="known type"):
        check_header(encoded((20, 20), format))


def test_a_file_over_the_limit_is_refused() -> None:
    """The number of bytes is looked at first."""
    with pytest.raises(BadImage, match="over 20 MiB"):
        check_header(b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES))


@pytest.mark.parametrize(("format", "options"), KINDS)
def test_a_cut_header_is_refused(format: str, options: dict[str, Any]) -> None:
    """Wherever the header is cut off, the file is called damaged or of no known type."""
    data = encoded((20, 20), format, **options)
    for length in range(20):
        with pytest.raises(BadImage):
            check_header(data[:length])


def test_a_jpeg_of_endless_segments_is_given_up() -> None:
    """A file made only of tiny segments costs no more than a bounded number of steps."""
    with pytest.raises(BadImage, match="damaged"):
        check_header(b"\xff\xd8" + b"\xff\xe1\x00\x02" * 1_000_000)


@given(
    st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF____WEBPVP8 ", b"RIFF____WEBP"]
    ),
    st.binary(max_size=60),
)
def test_garbage_is_refused_or_measured(start: bytes, rest: bytes) -> None:
    """Any bytes give a size within the limits or our error."""
    try:
        width, height = check_header(start + rest)
    except BadImage as error:
        assert "\n" not in str(error)
    else:
        assert width >= 8
        assert height >= 8

"""What a picture file says of itself before it is decoded: its type and size, and what may go in.

Reads a few header bytes and no pixel, so that whoever takes pictures from strangers can refuse the
worst at once, in microseconds, without a decoder in its process. That the rest of the file is whole
turns out when ``images.py`` decodes it. Sources: PNG (W3C, third edition) 11.2.1; JPEG (ITU T.81)
annex B; WebP container and RFC 6386 section 9.1.
"""

from __future__ import annotations

from miner.errors import BadImage

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 4096 * 4096
"""Beyond this a picture costs a gigabyte to handle, and the models look at 512 px at most."""
MIN_SIDE_PX = 8

MAX_JPEG_SEGMENTS = 2_000
"""Before the frame; profiles and previews of large cameras take some hundred."""
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
"""Markers without a length."""

_DAMAGED = "the picture is damaged: its header is cut off or wrong"


def check_header(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a PNG, JPEG or WebP file within the limits of this module.

    Raises:
        BadImage: too many bytes or pixels, too few of them, another type, or a damaged header.
    """
    check_bytes(len(data))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        size = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        size = _jpeg(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = _webp(data)
    else:
        raise BadImage("not a picture of a known type; give a PNG, JPEG or WebP file")
    check_size(size)
    return size


def check_bytes(count: int) -> None:
    """Whether a file may have so many bytes.

    Raises:
        BadImage: it may not.
    """
    if count > MAX_BYTES:
        raise BadImage(f"the picture has over {MAX_BYTES // 2**20} MiB; make it smaller")


def check_size(size: tuple[int, int]) -> None:
    """Whether a picture may have this width and height in pixels.

    Raises:
        BadImage: it may not.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadImage(f"the picture has {width} x {height} px, over {MAX_PIXELS}; make it smaller")
    if min(width, height) < MIN_SIDE_PX:
        raise BadImage(f"the picture has {width} x {height} px; {MIN_SIDE_PX} a side at least")


def _png(data: bytes) -> tuple[int, int]:
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise BadImage(_DAMAGED)
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        at = data.find(b"\xff", at, at + 64)
        if at < 0 or at + 4 > len(data):
            break
        marker = data[at + 1]
        if marker in (0xFF, 0x00):
            at += 1
        elif marker in JPEG_BARE:
            at += 2
        elif marker in JPEG_FRAMES:
            if at + 9 > len(data):
                break
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return int.from_bytes(data[at + 7 : at + 9], "big"), height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise BadImage(_DAMAGED)


def _webp(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) == 10 and kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if len(body) == 10 and kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = body[6:8], body[8:10]
        # The upper two bits of each are a scale for display.
        return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
    if len(body) >= 5 and kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise BadImage(_DAMAGED)

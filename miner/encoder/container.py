"""The compressed wrappings of SPZ, read as if every byte came from an enemy.

Two wrappings: one zstd frame (the subnet's dialect) and one gzip member (Niantic's). Both are read
in pieces that the caller bounds. Before anything is allocated the reader knows the most that its
input can expand to, so that a small file cannot ask for a large buffer. What the payload means is
``spz.py``'s business.

Sources: RFC 8878 (zstd frames and blocks), RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from typing import Final, Protocol

import zstandard

from miner.errors import BadAsset

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
GZIP_MAGIC: Final = b"\x1f\x8b"

_ZSTD_BLOCK_BYTES: Final = 128 << 10  # no block decodes to more (RFC 8878, 3.1.1.2.4)
_ZSTD_WINDOW_BYTES: Final = 1 << 28  # a frame of the largest payload may be a single segment
_DEFLATE_RATIO: Final = 1032  # the most that deflate can shrink (258 bytes in 2 bits)


class PayloadReader(Protocol):
    """A wrapped payload, read front to back.

    Attributes:
        kind: "zstd" or "gzip".
        max_bytes: no more than this can come out, whatever the payload claims about itself.
    """

    kind: str
    max_bytes: int

    def read(self, size: int) -> bytes:
        """Exactly ``size`` > 0 bytes; raises ``BadAsset`` where fewer are there or damaged."""

    def finish(self) -> None:
        """Check that payload and file end here, and the checksum; raises ``BadAsset`` if not."""


def open_container(data: bytes) -> PayloadReader:
    """Recognise the wrapping by its first bytes.

    Raises:
        BadAsset: neither zstd nor gzip, or a zstd frame that is cut off or followed by more.
    """
    if data.startswith(ZSTD_MAGIC):
        return _ZstdReader(data)
    if data.startswith(GZIP_MAGIC):
        return _GzipReader(data)
    if data.startswith(b"NGSP"):
        raise BadAsset("SPZ of version 4 is not read here; save it as version 2 or 3")
    raise BadAsset("not an SPZ file: it begins neither as zstd nor as gzip")


class _ZstdReader:
    kind = "zstd"

    def __init__(self, data: bytes) -> None:
        try:
            self.max_bytes = _measure_zstd_frame(data)
            decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
            self._stream = decompressor.stream_reader(data, read_across_frames=False)
        except zstandard.ZstdError as error:
            raise BadAsset("the SPZ file's zstd frame is damaged") from error

    def read(self, size: int) -> bytes:
        return _exactly(size, self._read(size))

    def finish(self) -> None:
        if self._read(1):
            raise BadAsset("the SPZ payload is longer than its header says")

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except zstandard.ZstdError as error:
            raise BadAsset("the SPZ file's zstd frame is damaged") from error


class _GzipReader:
    kind = "gzip"

    def __init__(self, data: bytes) -> None:
        self.max_bytes = _DEFLATE_RATIO * len(data)
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._pending = data

    def read(self, size: int) -> bytes:
        return _exactly(size, self._read(size))

    def finish(self) -> None:
        if self._read(1):
            raise BadAsset("the SPZ payload is longer than its header says")
        if not self._inflate.eof:
            raise BadAsset("the SPZ file is cut off: its gzip stream has no end")
        if self._inflate.unused_data:
            raise BadAsset("the SPZ file goes on after its gzip stream")

    def _read(self, size: int) -> bytes:
        try:
            piece = self._inflate.decompress(self._pending, size)
        except zlib.error as error:
            raise BadAsset("the SPZ file's gzip stream is damaged") from error
        self._pending = self._inflate.unconsumed_tail
        return piece


def wrap_zstd(payload: bytes) -> bytes:
    """One frame that carries its content size, which the subnet's decoder allocates by.

    Level 1, as the subnet's own encoder: higher levels take a tenth off for several times the time.
    """
    return zstandard.ZstdCompressor(level=1, write_content_size=True).compress(payload)


def wrap_gzip(payload: bytes) -> bytes:
    """One gzip member without name or time, so that equal payloads give equal files.

    Level 1: on real splats the usual level 6 takes 3 % off for four times the time.
    """
    deflate = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    return deflate.compress(payload) + deflate.flush()


def _exactly(size: int, piece: bytes) -> bytes:
    if len(piece) < size:
        raise BadAsset(f"the SPZ payload is cut off: {size:,} bytes wanted, {len(piece):,} there")
    return piece


def _measure_zstd_frame(data: bytes) -> int:
    """Walk the block headers to the frame's end; return the most bytes that it can decode to.

    Nothing is decoded, so a lying content size or a bomb costs nothing here.
    """
    at = zstandard.frame_header_size(data)
    room, last = 0, False
    while not last:
        if at + 3 > len(data):
            raise BadAsset("the SPZ file is cut off inside its zstd frame")
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        is_raw, is_run = kind == 0, kind == 1  # the others are compressed (2) and refused later (3)
        at += 3 + (1 if is_run else size)
        room += min(size, _ZSTD_BLOCK_BYTES) if is_raw or is_run else _ZSTD_BLOCK_BYTES
    at += 4 if zstandard.get_frame_parameters(data).has_checksum else 0
    if at > len(data):
        raise BadAsset("the SPZ file is cut off inside its zstd frame")
    if at < len(data):
        raise BadAsset(f"the SPZ file goes on for {len(data) - at:,} bytes after its zstd frame")
    return room

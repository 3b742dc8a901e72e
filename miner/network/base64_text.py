"""Base64 of megabytes, both ways, without holding the event loop up.

Small texts are done on the spot. Large ones go to a thread in pieces: the codec does not let go of
the interpreter within one call, so one call for all of it would stop the loop from a thread too.
Standard alphabet (RFC 4648), padded, without white space.
"""

from __future__ import annotations

import asyncio
import binascii

from miner.errors import MalformedRequest

INLINE_BYTES = 256 * 1024
"""Up to here it takes less than a millisecond."""
PIECE_BYTES = 384 * 1024
"""A multiple of 3, and of 4 as text: pieces join without padding between them."""

assert PIECE_BYTES % 12 == 0


async def encode(data: bytes) -> str:
    """The base64 text of ``data``."""
    if len(data) <= INLINE_BYTES:
        return _encode(data)
    return await asyncio.to_thread(_encode, data)


async def decode(text: str) -> bytes:
    """The bytes whose base64 ``text`` is.

    Raises:
        MalformedRequest: other characters, missing padding, or something after it.
    """
    try:
        if len(text) <= INLINE_BYTES:
            return _decode(text)
        return await asyncio.to_thread(_decode, text)
    except ValueError as error:
        raise MalformedRequest("not base64: padded, standard alphabet, no white space") from error


def _encode(data: bytes) -> str:
    view = memoryview(data)
    pieces = (view[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
    return "".join(binascii.b2a_base64(piece, newline=False).decode("ascii") for piece in pieces)


def _decode(text: str) -> bytes:
    decoded = []
    for at in range(0, len(text), PIECE_BYTES):
        piece = text[at : at + PIECE_BYTES]
        data = binascii.a2b_base64(piece, strict_mode=True)
        if at + PIECE_BYTES < len(text) and len(data) != PIECE_BYTES // 4 * 3:
            raise ValueError("padding before the end")
        decoded.append(data)
    return b"".join(decoded)

"""Base64 of small and large texts: the standard's own, strict, and not in one long piece."""

from __future__ import annotations

import asyncio
import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import MalformedRequest
from miner.network.base64_text import INLINE_BYTES, PIECE_BYTES, decode, encode


@given(st.binary(max_size=300))
def test_small_data_goes_there_and_back(data: bytes) -> None:
    """The text is the standard library's, and decodes to the same bytes."""
    text = asyncio.run(encode(data))

    assert text == base64.b64encode(data).decode()
    assert asyncio.run(decode(text)) == data


@pytest.mark.parametrize("piece", [INLINE_BYTES, PIECE_BYTES, PIECE_BYTES // 4 * 3, 3_000_000])
@pytest.mark.parametrize("more", [-1, 0, 1, 2])
async def test_large_data_goes_there_and_back(piece: int, more: int) -> None:
    """Around every border between pieces the text is one, padded only at its end."""
    data = os.urandom(piece + more)
    text = await encode(data)

    assert text == base64.b64encode(data).decode()
    assert await decode(text) == data


LONG = base64.b64encode(bytes(PIECE_BYTES)).decode()


@pytest.mark.parametrize(
    "text",
    [
        *("=", "QQ", "QQ=", "QQ==QQ==", "QUI=\n", " QQ==", "Q=Q=", "Q-_Q", "ü", "\udcff", "QQQQQ"),
        *(LONG + "Q", LONG + "\n", LONG[: PIECE_BYTES - 4] + "QQ==" + LONG, "ü" + LONG),
    ],
)
async def test_what_is_not_base64_is_refused(text: str) -> None:
    """Other alphabets, white space and padding in the wrong place are refused at any length."""
    with pytest.raises(MalformedRequest, match="not base64"):
        await decode(text)

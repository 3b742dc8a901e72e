"""The fault proxy: each mode spoils connections in its own way, and the clean one in none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.soak.fault_proxy import CLEAN, CUT, DRIPPING, HALF_CLOSED, SLOW, FaultProxy, Mode

REPLY = bytes(range(256)) * 40


@contextlib.asynccontextmanager
async def rig(mode: Mode) -> AsyncIterator[tuple[FaultProxy, list[bytes]]]:
    """A server that answers each line with ``REPLY``, behind a proxy; and all that it was sent."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                heard.append(line)
                writer.write(REPLY)
                await writer.drain()
            heard.append(b"")
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        async with FaultProxy(lambda: (host, port)).serving() as proxy:
            proxy.mode = mode
            yield proxy, heard


async def asked(proxy: FaultProxy, line: bytes = b"hello\n") -> bytes:
    """What comes back until the end or a whole reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    found = b""
    try:
        writer.write(line)
        async with asyncio.timeout(60):
            while len(found) < len(REPLY) and (data := await reader.read(4096)):
                found += data
    finally:
        writer.close()
    return found


@pytest.mark.parametrize("mode", [CLEAN, SLOW, DRIPPING], ids=["clean", "slow", "dripping"])
async def test_bytes_arrive_whole(mode: Mode) -> None:
    """Clean and slow connections change no byte and lose none."""
    async with rig(mode) as (proxy, heard):
        assert await asked(proxy) == REPLY
        assert heard[0] == b"hello\n"


async def test_a_cut_reply_breaks_off(  # a reset, or an end, as the kernel has it
) -> None:
    """A reply is reset after its first bytes."""
    async with rig(CUT) as (proxy, _):
        found = b""
        with contextlib.suppress(ConnectionResetError):
            found = await asked(proxy)
        assert len(found) < len(REPLY)


async def test_a_half_closed_request_is_answered() -> None:
    """The server sees the end of the requests, and its reply still comes through."""
    async with rig(HALF_CLOSED) as (proxy, heard):
        assert await asked(proxy) == REPLY
        assert heard == [b"hello\n", b""]


async def test_a_mode_holds_for_open_connections() -> None:
    """What is still to come of a connection is spoiled as well."""
    async with rig(CLEAN) as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one\n")
        assert await reader.readexactly(len(REPLY)) == REPLY
        proxy.mode = CUT
        writer.write(b"two\n")
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = await reader.read(-1)
        writer.close()

    assert len(rest) < len(REPLY)

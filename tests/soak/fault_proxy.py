"""A TCP proxy that spoils the connections that go through it: slow, cut, half closed.

The mode may be changed at any time; it holds for connections opened afterwards, and for bytes of
older ones that are still to come.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

PIECE_BYTES = 16 * 1024


@dataclass(frozen=True)
class Mode:
    """How a connection is spoiled; the default does nothing.

    Attributes:
        latency_seconds: before each piece, in both directions.
        bytes_per_second: no faster than this; None is as fast as it goes.
        cut_after_bytes: of the reply no more than this comes; then the connection is reset.
        half_close: the sending side is closed once the request is through.
        replies_too: whether replies are slow as well as requests.
    """

    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    cut_after_bytes: int | None = None
    half_close: bool = False
    replies_too: bool = True


CLEAN = Mode()
SLOW = Mode(latency_seconds=0.05, bytes_per_second=256 * 1024)
DRIPPING = Mode(bytes_per_second=128.0, replies_too=False)
CUT = Mode(cut_after_bytes=2000)
HALF_CLOSED = Mode(half_close=True)


class FaultProxy:
    """The proxy; ``mode`` is for whoever makes the faults.

    Args:
        upstream: host and port where connections go, asked for each.
    """

    def __init__(self, upstream: Callable[[], tuple[str, int]]) -> None:
        self.mode = CLEAN
        self.port = 0
        self._upstream = upstream
        self._open: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultProxy]:
        """Listens on a free port of loopback until the block ends."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):  # of this connection alone; the task ends here
            pass
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._upstream())
        tasks = {
            asyncio.create_task(self._pass(reader, back, reply=False)),
            asyncio.create_task(self._pass(there, writer, reply=True)),
        }
        try:
            # Done when the reply's side is, or when a side failed.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            back.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool
    ) -> None:
        """Bytes of one direction; a reset where the mode cuts."""
        passed = 0
        while data := await reader.read(PIECE_BYTES):
            for piece in self._pieces(data, reply):
                mode = self._slowness(reply)
                await asyncio.sleep(mode.latency_seconds)
                if mode.bytes_per_second is not None:
                    await asyncio.sleep(len(piece) / mode.bytes_per_second)
                limit = self.mode.cut_after_bytes if reply else None
                if limit is not None and passed + len(piece) > limit:
                    raise ConnectionResetError("cut")
                writer.write(piece)
                await writer.drain()
                passed += len(piece)
            if not reply and self.mode.half_close and writer.can_write_eof():
                writer.write_eof()
                return
        if writer.can_write_eof():
            writer.write_eof()

    def _slowness(self, reply: bool) -> Mode:
        return CLEAN if reply and not self.mode.replies_too else self.mode

    def _pieces(self, data: bytes, reply: bool) -> list[bytes]:
        """Small ones while the connection is slow, so that it drips and does not wait and gush."""
        limit, cut = self._slowness(reply).bytes_per_second, self.mode.cut_after_bytes
        size = PIECE_BYTES if limit is None else max(1, min(PIECE_BYTES, int(limit / 8)))
        size = size if cut is None else max(1, min(size, cut // 2))
        return [data[start : start + size] for start in range(0, len(data), size)]

"""One worker of a Ray cluster as the daemon holds it; what a ``WorkerProcess`` is on this host.

Implements ``workers.handle.Handle`` over the bridge's channel. One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from miner.errors import ChannelError
from miner.ray_workers.wire import END, TELL, framed
from miner.workers.channel import AsyncChannel, Message


class RemoteChannel:
    """The daemon's end of one worker's channel; see ``workers.handle.Channel``."""

    def __init__(self, key: str, bridge: AsyncChannel) -> None:
        self.heard: asyncio.Queue[Message | None] = asyncio.Queue()
        self.is_open = True
        self._bridge = bridge
        self._tell = {"type": TELL, "worker": key}

    async def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Hands a message over.

        Raises:
            ChannelError: the worker has gone, or the bridge.
        """
        if not self.is_open:
            raise ChannelError("the worker has gone")
        await self._bridge.send(self._tell, framed(Message(head, payload)))

    def post(self, head: Mapping[str, Any]) -> None:
        """Sends a small message without waiting."""
        if self.is_open:
            self._bridge.post(self._tell, framed(Message(head)))

    async def receive(self) -> Message | None:
        """The next message of the worker; None once it has gone and all was read."""
        if not self.is_open and self.heard.empty():
            return None
        return await self.heard.get()


class RemoteWorker:
    """One actor.

    Attributes:
        born: done once the actor runs and fits; fails where it does not.
        node: the address of its node; empty before it is born.
    """

    def __init__(self, key: str, bridge: AsyncChannel, forget: Callable[[str], None]) -> None:
        self.key = key
        self.channel = RemoteChannel(key, bridge)
        self.born: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pid = 0
        self.node = ""
        self._bridge = bridge
        self._forget = forget
        self._why = "ended by us"

    async def __aenter__(self) -> RemoteWorker:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Has the actor killed, also one that waits for a place; returns at once."""
        self._bridge.post({"type": END, "worker": self.key})
        self._forget(self.key)
        self.gone(self._why)

    async def kill_with_trace(self) -> None:
        """Has the actor killed; its threads' stacks are not to be had from here."""
        self.end()

    def epitaph(self) -> str:
        """How it ended, in one line."""
        return f"node {self.node}: {self._why}"

    # What the bridge tells

    def is_born(self, pid: int, node: str) -> None:
        """It runs."""
        self.pid, self.node = pid, node
        if not self.born.done():
            self.born.set_result(None)

    def hear(self, message: Message) -> None:
        """It said something."""
        self.channel.heard.put_nowait(message)

    def fail(self, error: Exception) -> None:
        """It will not be born."""
        if not self.born.done():
            self.born.set_exception(error)

    def gone(self, why: str) -> None:
        """It has ended."""
        if self.channel.is_open:
            self._why = why
            self.channel.is_open = False
            self.channel.heard.put_nowait(None)
        if not self.born.done():
            self.born.set_exception(ConnectionError(why))
        if not self.born.cancelled():
            self.born.exception()  # looked at: nobody may be waiting any more

"""What the supervisor needs of a worker, wherever it runs: to talk to it, and to end it.

Implemented by ``process.py`` for a process of this host, and by ``ray_workers/link.py`` for an
actor of a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from miner.workers.channel import Message


class Channel(Protocol):
    """The daemon's end of what joins it with a worker; see ``AsyncChannel``."""

    async def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Hands a message over.

        Raises:
            ChannelError: the other end has gone.
        """

    def post(self, head: Mapping[str, Any]) -> None:
        """Sends a small message without waiting; to an end that has gone it goes nowhere."""

    async def receive(self) -> Message | None:
        """The next message; None when the other end has gone."""


class Handle(Protocol):
    """A worker that was spawned. Ends with the ``async with`` that it is used in."""

    @property
    def pid(self) -> int:
        """Of its process, on the host that it runs on."""

    @property
    def node(self) -> str | None:
        """The host that it runs on; None for this one."""

    @property
    def channel(self) -> Channel:
        """To talk with it."""

    async def __aenter__(self) -> Handle:
        """Nothing is left of it when the block ends."""

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None: ...

    async def kill_with_trace(self) -> None:
        """Ends it at once, where it can after what each thread is at has gone to the log."""

    def epitaph(self) -> str:
        """How it ended, in one line."""


class WorkerChannel(Protocol):
    """The worker's end, for threads; see ``BlockingChannel``."""

    def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Returns when the message is on its way.

        Raises:
            ChannelError: the daemon has gone.
        """

    def receive(self) -> Message | None:
        """The next message; None when the daemon has gone."""

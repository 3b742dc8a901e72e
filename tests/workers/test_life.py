"""One life of a worker, over a channel and a handle that a test holds."""

from __future__ import annotations

import asyncio
from types import TracebackType

import pytest

from miner.settings import WorkerSettings
from miner.workers.changes import Changes
from miner.workers.channel import Message
from miner.workers.life import CRASH, Life, Tools
from miner.workers.messages import READY
from tests.fakes.workers import Metrics, Time

SAID = {
    "type": READY,
    "load_seconds": {},
    "warm_up_seconds": 0.0,
    "generators": ["fake"],
    "device": "fake device",
    "memory": {},
}


class Channel:
    """Says that the worker is ready, and ends when the test lets it."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._first = True

    async def send(self, head: object, payload: bytes = b"") -> None:
        """Nobody listens."""

    def post(self, head: object) -> None:
        """Nobody listens."""

    async def receive(self) -> Message | None:
        if self._first:
            self._first = False
            return Message(SAID)
        await self.ended.wait()
        return None


class Handle:
    """A worker's process that is none."""

    pid, node = 7, None

    def __init__(self) -> None:
        self.channel = Channel()

    async def __aenter__(self) -> Handle:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Nothing is left of it."""

    async def kill_with_trace(self) -> None:
        """There is nothing to kill."""

    def epitaph(self) -> str:
        return "gone"


class SlowToEnd:
    """A sleep that, when it is cancelled, takes until the test lets it end."""

    def __init__(self) -> None:
        self.cancelled, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.may_end.wait()
            raise


async def test_a_worker_that_dies_ends_its_life_and_nothing_else() -> None:
    """Nobody was cancelled: the life says why it ended, and the next one can begin."""
    handle, time = Handle(), Time()
    tools = Tools(WorkerSettings(), Changes(), Metrics(time), time.clock, time.sleep)
    life = Life("0", {}, tools, lambda: None)

    async def spawn() -> Handle:
        handle.channel.ended.set()
        return handle

    over = await life.live(spawn)

    assert (over.reason, over.detail) == (CRASH, "gone")


async def test_who_cancels_a_life_that_is_ending_is_not_ignored() -> None:
    """The worker dies, its watch is being ended, and just then the supervisor is cancelled: the
    life ends as cancelled, and no other one begins."""
    sleep, handle, time = SlowToEnd(), Handle(), Time()
    tools = Tools(WorkerSettings(), Changes(), Metrics(time), time.clock, sleep)
    ready = asyncio.Event()
    life = Life("0", {}, tools, lambda: ready.set() if life.readiness else None)

    async def spawn() -> Handle:
        return handle

    living = asyncio.create_task(life.live(spawn))
    await ready.wait()
    await asyncio.sleep(0)  # for the watch to begin its first wait
    handle.channel.ended.set()
    await sleep.cancelled.wait()
    living.cancel()
    await asyncio.sleep(0)
    sleep.may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await living

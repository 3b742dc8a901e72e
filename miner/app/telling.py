"""What the service manager is told while the daemon lives: one line of how it is, signs of life.

How it is told is ``service_manager.py``'s business, whether all is well ``liveness.py``'s. Nothing
here changes how the daemon works.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

from miner.app.liveness import Liveness
from miner.app.parts import Parts
from miner.app.service_manager import ServiceManager
from miner.network.view import why_not_ready

LOOK_SECONDS = 1.0
"""From one look at the daemon to the next; the manager hears of changes only."""


class Teller:
    """Tells the manager of one life of the daemon.

    Args:
        manager: who is told.
        clock: monotonic seconds.
        sleep: waits between two looks.
    """

    def __init__(
        self,
        manager: ServiceManager,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._sleep = sleep
        self._ready = False
        self._last = ""

    @contextlib.asynccontextmanager
    async def loading(self, preset: str) -> AsyncIterator[None]:
        """While the block runs, more time is asked for and the line says what is loaded."""
        began = self._clock()

        def words() -> str:
            seconds = self._clock() - began
            return f"loading {preset}" + (f", {seconds:.0f} s so far" if seconds >= 1 else "")

        async with _beside(self._manager.extend(words)):
            yield

    def ready(self, parts: Parts) -> None:
        """All is warm and the doors are open."""
        self._ready = True
        self._last = serving_words(parts)
        self._manager.ready(self._last)

    async def serve(self, parts: Parts) -> None:
        """Tells of every change, until cancelled."""
        while True:
            await self._sleep(LOOK_SECONDS)
            if self._ready and (line := serving_words(parts)) != self._last:
                self._last = line
                self._manager.status(line)

    async def watchdog(self, parts: Parts) -> None:
        """Gives signs of life while the workers are looked after, until cancelled."""
        settings = parts.settings.daemon.worker
        await self._manager.watchdog(Liveness(parts.executor.health, settings, self._clock))

    @contextlib.contextmanager
    def reloading(self, parts: Parts) -> Iterator[None]:
        """The settings are read again while the block runs, whether or not they hold."""
        if self._ready:
            self._manager.reloading()
        try:
            yield
        finally:
            if self._ready:
                self.ready(parts)

    def stopping(self) -> None:
        """The orderly stop was asked for."""
        self._ready = False
        self._manager.stopping("stopping")

    @contextlib.asynccontextmanager
    async def draining(self, parts: Parts) -> AsyncIterator[None]:
        """While the block runs, more time is asked for and the line says what is left."""
        async with _beside(self._manager.extend(lambda: draining_words(parts))):
            yield
        self._manager.status("ending the workers")


def serving_words(parts: Parts) -> str:
    """How it is, in one line: ready with what there is to do, or why not."""
    reasons = why_not_ready(parts)
    head = f"not ready ({'; '.join(reasons)})" if reasons else "ready"
    state = parts.queue.snapshot()
    work = f"{state.depth} in the queue, {state.in_flight} running"
    return f"{head}: {work}, generator {parts.generator or 'none'}"


def draining_words(parts: Parts) -> str:
    """What is left to be done before the end."""
    state = parts.queue.snapshot()
    limit = parts.queue_settings.drain_seconds
    left = f"{state.depth} in the queue, {state.in_flight} running"
    return f"draining: {left}, {limit:g} s at most"


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Has it done beside the block, and ends it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

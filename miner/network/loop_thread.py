"""An event loop in a thread of its own, for a library that is not trusted with ours.

What runs there may decode for long, block, or ignore being cancelled: the loop of the daemon goes
on. A thread cannot be killed, so one that does not end is left behind and dies with the process;
whoever makes these counts them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class LoopThread:
    """Runs coroutines elsewhere. To be closed by whoever made it; usable from one loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, be it that it was closed and does not end."""
        return self._thread.is_alive()

    async def call(self, start: Callable[[], Coroutine[Any, Any, _T]], limit_seconds: float) -> _T:
        """What the coroutine that ``start`` makes returns or raises; it runs in the thread.

        Raises:
            TimeoutError: the limit is over. The coroutine was told to end, which is not waited for.
        """
        future = asyncio.run_coroutine_threadsafe(_own(start), self._loop)
        async with asyncio.timeout(limit_seconds):
            return await asyncio.wrap_future(future)

    async def close(self, grace_seconds: float) -> bool:
        """Cancels what still runs and ends the thread; whether it has ended within the grace."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join, grace_seconds)
        return not self._thread.is_alive()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


async def _own(start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """A library that cancels its own task must not look like our caller being cancelled."""
    try:
        return await start()
    except asyncio.CancelledError as error:
        raise RuntimeError("cancelled inside the thread") from error

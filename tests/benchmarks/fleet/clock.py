"""A simulated clock: an event loop that waits for nothing, as its time jumps to the next timer.

Everything that asks the loop for the time or for a timer is simulated with it: ``asyncio.sleep``,
``asyncio.timeout`` and ``call_later``. Threads and processes are not.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for nothing: where there is nothing to do until a timer, the time is that timer's."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found and timeout is not None:
            self.now += max(0.0, timeout)
        return found


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is simulated; it begins at 0."""

    def __init__(self) -> None:
        self._simulated = Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now


def simulated(main: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end in an event loop of its own, in no more time than it computes."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)

"""Which jobs are past their deadline, and when to look again. Holds ids only, not jobs."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Container, Iterator
from typing import Protocol

SLACK = 64
MAX_SLEEP_SECONDS = 3600.0
MIN_SLEEP_SECONDS = 0.001
"""Timers of some event loops are a little early."""


class _Sized(Container[str], Protocol):
    def __len__(self) -> int: ...


class Deadlines:
    """A heap of deadlines, and one timer for the earliest.

    Args:
        clock: monotonic seconds.
        ring: called in the event loop when a deadline may have passed.
    """

    def __init__(self, clock: Callable[[], float], ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_for: float | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline: float, job_id: str) -> None:
        """Watches one more job."""
        heapq.heappush(self._heap, (deadline, job_id))

    def passed(self, alive: _Sized) -> Iterator[str]:
        """Takes out those that are due; afterwards the timer is set for the next.

        Args:
            alive: ids still of interest; of the others few enough are held.
        """
        if len(self._heap) > 2 * len(alive) + SLACK:
            self._heap = [entry for entry in self._heap if entry[1] in alive]
            heapq.heapify(self._heap)
        now = self._clock()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in alive):
            _, job_id = heapq.heappop(self._heap)
            if job_id in alive:
                yield job_id
        self._set_timer(now)

    def stop(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, now: float) -> None:
        following = self._heap[0][0] if self._heap else None
        if following == self._timer_for and self._timer is not None:
            return
        self.stop()
        self._timer_for = following
        if following is not None:
            delay = min(max(following - now, MIN_SLEEP_SECONDS), MAX_SLEEP_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._ring()

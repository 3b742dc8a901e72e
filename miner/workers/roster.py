"""Who could take a job: by the generator that it is for, and by the jobs in hand.

Kept up to date by whoever hears that a worker has changed, so that every question is answered
without a walk over all of them, of whom there may be thousands. One event loop.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

ANY = ""
"""In place of a generator's name: whichever a worker holds."""


class Seat(Protocol):
    """What is read of a worker."""

    @property
    def holds(self) -> tuple[str, ...] | None:
        """Generators for new jobs, now or after the one it is at; None while it takes none."""

    @property
    def capacity(self) -> int:
        """1 when a job could begin now."""

    @property
    def in_hand(self) -> int:
        """Jobs begun and not answered."""


Worker = TypeVar("Worker", bound=Seat)


@dataclass(frozen=True)
class _Entry:
    """A worker as it was last looked at; ``load`` is None where no job could begin."""

    holds: tuple[str, ...] | None
    load: int | None

    @property
    def names(self) -> tuple[str, ...]:
        return () if self.holds is None else (ANY, *self.holds)


_NOBODY = _Entry(None, None)


class Roster(Generic[Worker]):
    """The workers that take jobs.

    A name that no worker holds means any of them: the one that asks has nobody else.

    Attributes:
        generators: that some worker holds.
    """

    def __init__(self) -> None:
        self.generators: tuple[str, ...] = ()
        self._entries: dict[Worker, _Entry] = {}
        self._serving: Counter[str] = Counter()
        self._free: defaultdict[str, _Free[Worker]] = defaultdict(_Free)

    def look(self, worker: Worker) -> None:
        """Takes note of how a worker is now."""
        old = self._entries.get(worker, _NOBODY)
        new = _Entry(worker.holds, worker.in_hand if worker.capacity else None)
        if new == old:
            return
        if old.load is not None:
            for name in old.names:
                self._free[name].take(worker, old.load)
        if new.load is not None:
            for name in new.names:
                self._free[name].put(worker, new.load)
        self._entries[worker] = new
        if new.holds is None:
            del self._entries[worker]
        if new.holds != old.holds:
            self._serving.subtract(old.names)
            self._serving.update(new.names)
            self.generators = tuple(name for name, count in self._serving.items() if name and count)

    def capacity(self, generator: str = ANY) -> int:
        """How many more jobs for a generator could begin at once."""
        return len(self._free[self._asked(generator)])

    def slots(self, generator: str = ANY) -> int:
        """How many such jobs can be done at a time: workers that take them, busy or not."""
        return self._serving[self._asked(generator)]

    def least_loaded(self, generator: str = ANY) -> Worker:
        """Who is to begin such a job; only while there is capacity.

        The one with the fewest in hand, of equals the one that has been so for the longest.
        """
        return self._free[self._asked(generator)].least()

    def _asked(self, generator: str) -> str:
        return generator if self._serving[generator] else ANY


class _Free(Generic[Worker]):
    """Workers that could begin a job, by the few numbers of jobs that they may have in hand."""

    def __init__(self) -> None:
        self._count = 0
        self._by_load: dict[int, dict[Worker, None]] = {}

    def __len__(self) -> int:
        return self._count

    def put(self, worker: Worker, load: int) -> None:
        self._by_load.setdefault(load, {})[worker] = None
        self._count += 1

    def take(self, worker: Worker, load: int) -> None:
        del self._by_load[load][worker]
        if not self._by_load[load]:
            del self._by_load[load]
        self._count -= 1

    def least(self) -> Worker:
        return next(iter(self._by_load[min(self._by_load)]))

"""What waits, in a line for each identity, and whose turn it is: fair sharing of the workers.

Within a line the order is that of ``waiting.py``. Between lines goes the one that has used least of
the workers' time, divided by its share: start-time fair queueing (Goyal, Vin and Cheng 1996), with
a job's time estimated when it begins and put right when it ends. Who had nothing to do has saved
nothing up by that. Knows no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from miner.job_queue.generation import Generation, Order
from miner.job_queue.waiting import Waiting


class Lines:
    """All generations that wait. One that several identities share stands in each one's line.

    Args:
        share: of an identity, by its name; above 0.
    """

    def __init__(self, share: Callable[[str], float]) -> None:
        self._share = share
        # Written by this object only.
        self._lines: dict[str, Waiting] = {}
        self._used: dict[str, float] = {}  # seconds of workers over the share, by line
        self._now = 0.0  # what the line that was last served had used before
        self._unit = 1.0  # what the last job that was begun was taken to need, in seconds
        self._stands_in: dict[int, frozenset[str]] = {}

    def __len__(self) -> int:
        return len(self._stands_in)

    def __iter__(self) -> Iterator[Generation]:
        """Next first, if every job took the same time."""
        rest = {name: list(line) for name, line in self._lines.items() if len(line)}
        used, seen = dict(self._used), set()
        while rest:
            name = _turn({name: line[0] for name, line in rest.items()}, used)
            generation = rest[name].pop(0)
            if not rest[name]:
                del rest[name]
            if generation.arrival not in seen:
                seen.add(generation.arrival)
                used[name] += self._unit / self._share(name)
                yield generation

    def add(self, generation: Generation) -> None:
        """Puts one where its order and its jobs say, or moves it there if they have changed."""
        names = generation.identities
        for name in self._stands_in.get(generation.arrival, frozenset()) - names:
            self._lines[name].discard(generation)
        for name in names:
            line = self._lines.setdefault(name, Waiting())
            if not len(line):
                self._used[name] = self._start(name)
            line.add(generation)
        self._stands_in[generation.arrival] = names

    def discard(self, generation: Generation) -> None:
        """Takes one out, if it is there."""
        for name in self._stands_in.pop(generation.arrival, ()):
            self._lines[name].discard(generation)

    def pop(self) -> Generation:
        """Takes the next one out; its ``payer`` is the identity whose turn it was."""
        name = _turn({name: line.first for name, line in self._lines.items() if line}, self._used)
        generation = self._lines[name].first
        self._now = max(self._now, self._used[name])
        self.discard(generation)
        generation.payer = name
        return generation

    def charge(self, name: str, seconds: float) -> None:
        """An identity is to use so many seconds of a worker."""
        self._unit = seconds if seconds > 0 else self._unit
        self.correct(name, seconds)

    def correct(self, name: str, seconds: float) -> None:
        """It used so many more than it was charged with, or less where that is below 0."""
        self._used[name] = self._used.get(name, self._now) + seconds / self._share(name)

    def ahead_of(self, name: str, order: Order) -> int:
        """How many would begin before one of this order in a line, at most."""
        line = self._lines.get(name)
        own = 0 if line is None else line.ahead_of(order)
        begins = self._start(name) + own * self._unit / self._share(name)
        others = (other for other in self._lines if other != name)
        return own + sum(self._begun_by(other, begins) for other in others)

    def _begun_by(self, name: str, used: float) -> int:
        """How many of a line begin until it has used so much; of two alike it goes first."""
        steps = (used - self._used[name]) * self._share(name) / self._unit
        return min(len(self._lines[name]), max(0, math.floor(steps + 1e-9) + 1))

    def _start(self, name: str) -> float:
        """What a line has used, as it counts from now on."""
        used = self._used.get(name, 0.0)
        return used if len(self._lines.get(name, ())) else max(used, self._now)


def _turn(firsts: dict[str, Generation], used: dict[str, float]) -> str:
    """Whose turn it is: a retry's, then whose line has used least, then who came first."""
    return min(firsts, key=lambda n: (not firsts[n].retried, used[n], firsts[n].arrival))

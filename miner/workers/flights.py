"""The jobs a worker process has in hand, as the daemon sees them.

At most one begins on the device at a time; up to ``MAX_FINISHING`` more are being finished, or wait
for that. One event loop; the table's one writer is the supervisor that owns it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from miner.errors import MinerError
from miner.executor import OnProgress
from miner.job import Asset, Job

MAX_FINISHING = 3
"""One whose surface is made, one that waits for that and one that is encoded: each thread of a
worker has its next job, and results that it cannot keep up with do not fill the memory."""


@dataclass(eq=False)
class Flight:
    """One job between its start and its answer.

    Attributes:
        number: of the job on this worker's channel.
        begun_at: ``clock()`` seconds.
        on_device: False once the device is free for the next job; True again for a job that goes
            back to it, because what came after its device half failed.
        answer: cancelled where nobody waits for it any more; the worker may still be at it.
    """

    number: int
    job: Job
    on_progress: OnProgress | None
    begun_at: float
    answer: asyncio.Future[Asset]
    on_device: bool = field(default=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tells whoever still waits how far the job is."""
        if self.on_progress is not None and not self.answer.done():
            self.on_progress(stage, done, total)

    def succeed(self, asset: Asset) -> None:
        """Gives the asset to whoever waits."""
        if not self.answer.done():
            self.answer.set_result(asset)

    def fail(self, error: MinerError) -> None:
        """Gives the error to whoever waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Flights:
    """The table. Numbers are not used twice."""

    def __init__(self) -> None:
        self._by_number: dict[int, Flight] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._by_number.values()))

    @property
    def room(self) -> bool:
        """Whether another job could begin on the device now."""
        on_device = sum(flight.on_device for flight in self._by_number.values())
        return on_device == 0 and len(self._by_number) <= MAX_FINISHING

    @property
    def current(self) -> Flight | None:
        """What is on the device, or else what is being finished."""
        return max(self, key=lambda flight: (flight.on_device, flight.number), default=None)

    def begin(self, job: Job, on_progress: OnProgress | None, now: float) -> Flight:
        """A new entry for a job."""
        answer: asyncio.Future[Asset] = asyncio.get_running_loop().create_future()
        flight = Flight(next(self._numbers), job, on_progress, now, answer)
        self._by_number[flight.number] = flight
        return flight

    def get(self, number: object) -> Flight | None:
        """The entry of a number."""
        return self._by_number.get(number) if isinstance(number, int) else None

    def end(self, number: object) -> Flight | None:
        """Takes the entry of a number out."""
        return self._by_number.pop(number, None) if isinstance(number, int) else None

    def fail_all(self, error: Callable[[Job], MinerError]) -> None:
        """Ends every entry with an error of its own."""
        while self._by_number:
            _, flight = self._by_number.popitem()
            flight.fail(error(flight.job))

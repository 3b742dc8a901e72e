"""What an intake holds of a job that it submitted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from miner.job import Job, Outcome


class Ticket:
    """A claim to one job's outcome.

    Attributes:
        job: as it was submitted.
    """

    def __init__(self, job: Job, told: asyncio.Future[Outcome], leave: Callable[[], None]) -> None:
        self.job = job
        self._told = told
        self._leave = leave

    async def outcome(self) -> Outcome:
        """Waits for the outcome, at most until the job's deadline if it was not promised.

        Past the deadline of running work this is ``deadline_exceeded`` at once, while the work goes
        on: its result is kept in the journal for whoever asks again. May be called several times.
        Cancelling the wait does not withdraw the job; ``leave`` does.
        """
        return await asyncio.shield(self._told)

    def leave(self) -> None:
        """Says that nobody waits any more.

        Work that waits and that nobody else wants is cancelled; what runs is finished for the
        journal. A promised job goes on in either case.
        """
        self._leave()

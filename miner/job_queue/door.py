"""Whether a job is taken: never more than may wait, and only what can be done in time."""

from __future__ import annotations

import math
from collections.abc import Callable

from miner.errors import DeadlineTooShort, NotReady, QueueFull
from miner.executor import Executor
from miner.job import Job
from miner.job_queue.board import Board
from miner.job_queue.generation import Order
from miner.job_queue.service_time import ServiceTime, wait_seconds

LAST_ARRIVAL = -(2**62)
"""In an order: behind all that are like it."""


class Door:
    """The checks before a job is accepted; changes nothing."""

    def __init__(
        self,
        executor: Executor,
        board: Board,
        service: ServiceTime,
        clock: Callable[[], float],
    ) -> None:
        self._executor = executor
        self._board = board
        self._service = service
        self._clock = clock

    def check(self, job: Job, key: str, room: int, room_of_identity: int) -> None:
        """Passes if the job may be taken.

        Args:
            job: as it was offered.
            key: of its spec.
            room: how many jobs may wait.
            room_of_identity: how many of those of its identity.

        Raises:
            NotReady: no worker is alive.
            QueueFull: as many jobs wait as may.
            DeadlineTooShort: it could not be done in time, by what jobs have been taking.
        """
        if not self._executor.slots:
            raise NotReady("no worker is ready")
        if self._board.depth >= room:
            raise QueueFull(f"{self._board.depth} jobs are waiting, and no more may")
        if (own := self._board.depth_of(job.identity)) >= room_of_identity:
            raise QueueFull(f"{own} jobs of {job.identity} are waiting, and no more may")
        left = job.deadline - self._clock()
        expected = self._expected_seconds(job, key) or 0.0
        if left <= 0 or expected > left:
            raise DeadlineTooShort(
                f"it would take about {expected:.1f} s, and {max(0.0, left):.1f} s are left"
            )

    def typical_seconds(self) -> float | None:
        """What a job has been taking; before the first, what the warm-up took."""
        return self._or_hint(self._service.typical(self._clock()))

    def wait_seconds(self, identity: str, priority: float) -> float | None:
        """How long until a job like none here would begin; None while nothing is known."""
        typical = self.typical_seconds()
        if typical is None:
            return None
        order = (False, priority, -math.inf, LAST_ARRIVAL)
        return self._until_begun(identity, order, typical)

    def _expected_seconds(self, job: Job, key: str) -> float | None:
        """From now to its outcome; None while nothing is known."""
        now = self._clock()
        typical = self.typical_seconds()
        cautious = self._or_hint(self._service.cautious(now))
        if typical is None or cautious is None:
            return None
        equal = self._board.equal(key)
        if equal is not None and equal.started_at is not None:
            return max(0.0, cautious - (now - equal.started_at))
        order = equal.order(job) if equal else (False, job.priority, -job.deadline, LAST_ARRIVAL)
        return self._until_begun(job.identity, order, typical) + cautious

    def _until_begun(self, identity: str, order: Order, typical: float) -> float:
        now = self._clock()
        entering = self._board.ledger.entering[identity]
        ahead = self._board.waiting.ahead_of(identity, order) + entering
        running = self._board.running.values()
        elapsed = [now - g.started_at for g in running if g.started_at is not None]
        return wait_seconds(ahead, elapsed, max(1, self._executor.slots), typical)

    def _or_hint(self, measured: float | None) -> float | None:
        return self._executor.service_seconds_hint if measured is None else measured

"""The queue as one identity's intakes see it: their jobs bear its name."""

from __future__ import annotations

from dataclasses import replace

from miner.job import Job
from miner.job_queue.queue import JobQueue
from miner.job_queue.snapshot import QueueSnapshot
from miner.job_queue.ticket import Ticket


class IdentityQueue:
    """One identity's way into the queue that all share.

    Args:
        queue: of the daemon.
        identity: its name.
    """

    def __init__(self, queue: JobQueue, identity: str) -> None:
        self._queue = queue
        self._identity = identity

    async def submit(self, job: Job) -> Ticket:
        """As ``JobQueue.submit``."""
        return await self._queue.submit(replace(job, identity=self._identity))

    def attach(self, job_id: str) -> Ticket | None:
        """As ``JobQueue.attach``."""
        return self._queue.attach(job_id)

    def wait_seconds(self, priority: float = 0.0) -> float | None:
        """As ``JobQueue.wait_seconds``, of this identity's jobs."""
        return self._queue.wait_seconds(priority, self._identity)

    def snapshot(self) -> QueueSnapshot:
        """How it is; ``depth`` counts this identity's jobs alone."""
        return replace(self._queue.snapshot(), depth=self._queue.queued_of(self._identity))

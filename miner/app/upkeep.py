"""What a daemon does beside its work, again and again: readings for the metrics, and sweeping.

Each loop runs until it is cancelled. A disk that takes no writing does not end the daemon: what it
cannot promise it refuses, readiness and the metrics say why, and the journal heals with the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from miner.admission.peers import PeersSnapshot
from miner.errors import JournalUnavailable
from miner.executor import Executor
from miner.gpu.telemetry import Telemetry
from miner.job_queue import JobQueue
from miner.journal import Journal
from miner.metrics import Metrics

READING_SECONDS = 2.0
"""Prometheus scrapes every few seconds; older readings would be drawn as steps."""
SWEEP_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Readings:
    """Brings the gauges up to date.

    Args:
        peers: the snapshot in use.
    """

    def __init__(
        self,
        metrics: Metrics,
        executor: Executor,
        queue: JobQueue,
        journal: Journal,
        peers: Callable[[], PeersSnapshot],
    ) -> None:
        self._metrics = metrics
        self._executor = executor
        self._queue = queue
        self._journal = journal
        self._peers = peers
        self._telemetry = Telemetry()

    def take(self) -> None:
        """Reads everything once; milliseconds."""
        health = self._executor.health()
        for worker in health.workers:
            self._metrics.worker(worker)
        for reading in self._telemetry.read():
            self._metrics.gpu(reading)
        state = self._queue.snapshot()
        self._metrics.queue(state.depth, state.in_flight)
        self._metrics.journal(self._journal.stats)
        self._metrics.ready(health.ready and state.accepting)
        snapshot = self._peers()
        self._metrics.peers(len(snapshot.peers), snapshot.age_seconds(time.monotonic()))

    async def run(self) -> None:
        """Reads again and again, until cancelled."""
        while True:
            self.take()
            await asyncio.sleep(READING_SECONDS)


async def sweep(journal: Journal) -> None:
    """Has the journal forget what has expired, again and again, until cancelled."""
    while True:
        try:
            report = await journal.sweep()
            log.debug("journal_swept", report=str(report))
        except JournalUnavailable as error:  # the disk may have room again the next time
            log.error("journal_not_swept", reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)

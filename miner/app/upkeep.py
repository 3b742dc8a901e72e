"""What a daemon does beside its work, again and again: readings for the metrics, and sweeping.

Each loop runs until it is cancelled. A disk that takes no writing does not end the daemon: what it
cannot promise it refuses, readiness and the metrics say why, and the journal heals with the disk.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import suppress

import structlog

from miner.app.parts import Parts
from miner.app.plan_watch import PlanWatch
from miner.errors import JournalUnavailable
from miner.gpu.telemetry import Telemetry
from miner.journal import Journal
from miner.network.view import why_not_ready
from miner.settings import gpus_in_use

READING_SECONDS = 2.0
"""Prometheus scrapes every few seconds; older readings would be drawn as steps."""
SWEEP_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Readings:
    """Brings the gauges up to date."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._telemetry = Telemetry(gpus_in_use(parts.settings))
        self._plans = PlanWatch(parts.metrics)

    def take(self) -> None:
        """Reads everything once; milliseconds."""
        parts, metrics = self._parts, self._parts.metrics
        workers = parts.executor.health().workers
        for worker in workers:
            metrics.worker(worker)
        self._plans.look(workers)
        for reading in self._telemetry.read():
            metrics.gpu(reading)
        state = parts.queue.snapshot()
        metrics.queue(state.depth, state.in_flight)
        metrics.journal(parts.journal.stats)
        self._read_limits()
        metrics.rollback_lasts(parts.breaker.away_seconds)
        metrics.ready(not why_not_ready(parts))
        for identity in parts.identities:
            identity.read(time.monotonic())

    def _read_limits(self) -> None:
        daemon, metrics = self._parts.settings.daemon, self._parts.metrics
        said = daemon.metrics
        metrics.limits(
            daemon.queue.max_depth, said.job_objective_seconds, said.stage_budget_seconds
        )
        with suppress(OSError):  # the journal tells when the disk is gone
            disk = shutil.disk_usage(daemon.state_dir)
            metrics.disk(disk.free, disk.total)

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

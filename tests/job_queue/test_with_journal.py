"""The queue with the real journal, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from miner.executor import ExecutorHealth, OnProgress, WorkerHealth
from miner.job import Asset, Job, JobSpec, new_job_id
from miner.job_queue import JobQueue
from miner.journal import Journal
from miner.journal.check import check_journal
from miner.settings.daemon import JournalSettings, QueueSettings
from tests.job_queue.fakes import Clock, Counters, an_asset

JOBS = 300


class AtOnce:
    """Does each job in one turn of the event loop."""

    service_seconds_hint = None
    slots = 4

    def __init__(self) -> None:
        self.busy = 0
        self._changed: list[Callable[[], None]] = []

    @property
    def capacity(self) -> int:
        return 4 - self.busy

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        self.busy += 1
        await asyncio.sleep(0)
        self.busy -= 1
        for changed in self._changed:
            changed()
        return an_asset(job.id.encode())

    def cancel(self, job_id: str) -> None:
        """Too fast to be cancelled."""

    def health(self) -> ExecutorHealth:
        return ExecutorHealth([WorkerHealth("0", "ready")])

    async def drain(self) -> None:
        """Not used by the queue."""

    async def reload(self) -> None:
        """Not used by the queue."""


async def one(queue: JobQueue, journal: Journal, number: int) -> None:
    job = Job(new_job_id(), JobSpec(prompt=f"{number}"), "5Hot", "api", deadline=1e6)
    ticket = await queue.submit(job)
    assert await ticket.outcome() == await journal.asset(job.id)
    journal.deliver(job.id)


async def many(folder: Path) -> None:
    clock = Clock()
    async with await Journal.open(folder, JournalSettings()) as journal:
        settings = QueueSettings(max_depth=JOBS)
        queue = JobQueue(AtOnce(), journal, settings, Counters(), clock, clock.wall)
        running = asyncio.create_task(queue.run())
        await asyncio.gather(*(one(queue, journal, number) for number in range(JOBS)))
        await queue.drain(10.0)
        running.cancel()
        await asyncio.wait({running})
        assert journal.stats.commits < JOBS / 2, "many jobs share a commit"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_many_jobs_at_once(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Each is done once and delivered, what is told is on disk, and the journal is sound."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(many(tmp_path))
    report = check_journal(tmp_path, 0.0)

    assert report.jobs == {"queued": 0, "running": 0, "done": JOBS, "failed": 0}
    assert report.faults == ()

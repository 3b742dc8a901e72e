"""Jobs a second through the queue and the journal, with an executor that takes no time.

In ``out/``, so on the disk of the checkout: each job is four writes, two of which are waited for,
with ``synchronous=FULL``. Results of a kilobyte, then of 1.5 MB.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from miner.job import Asset, Job, JobSpec, new_job_id
from miner.job_queue import JobQueue
from miner.journal import Journal
from miner.metrics import Metrics
from miner.settings.daemon import JournalSettings, QueueSettings
from tests.job_queue.test_with_journal import AtOnce

OUT = Path(__file__).parents[2] / "out"
RUNS = ((1, 1_000, 500), (32, 1_000, 4000), (64, 1_000, 4000), (32, 1_500_000, 300))
"""Callers at a time, bytes of a result, jobs."""
TARGET = 1000.0
"""Jobs a second with small results and 32 callers."""


class Stub(AtOnce):
    """Results of one size, all different."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._padding = b"x" * size

    async def submit(self, job: Job, on_progress: object = None) -> Asset:
        asset = await super().submit(job)
        return replace(asset, data=asset.data + self._padding)


async def measure(callers: int, size: int, jobs: int) -> tuple[float, list[float], int]:
    """Jobs a second, sorted seconds of each, and commits."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        async with await Journal.open(Path(folder), JournalSettings()) as journal:
            queue = JobQueue(Stub(size), journal, QueueSettings(max_depth=1000), Metrics())
            running = asyncio.create_task(queue.run())
            slots = asyncio.Semaphore(callers)

            async def one(number: int) -> None:
                async with slots:
                    started = time.perf_counter()
                    spec = JobSpec(prompt=f"chair {number}")
                    due = time.monotonic() + 300.0
                    ticket = await queue.submit(Job(new_job_id(), spec, "5", "api", due))
                    assert isinstance(await ticket.outcome(), Asset)
                    journal.deliver(ticket.job.id)
                    seconds.append(time.perf_counter() - started)

            began = time.perf_counter()
            await asyncio.gather(*(one(number) for number in range(jobs)))
            took = time.perf_counter() - began
            running.cancel()
            await asyncio.wait({running})
            return jobs / took, sorted(seconds), journal.stats.commits


def main() -> int:
    """Prints one line for each run; 1 when the target is missed."""
    OUT.mkdir(exist_ok=True)
    reached = 0.0
    for callers, size, jobs in RUNS:
        rate, seconds, commits = asyncio.run(measure(callers, size, jobs))
        p50, p99 = seconds[jobs // 2] * 1e3, seconds[jobs * 99 // 100] * 1e3
        print(
            f"{callers:3d} callers, {size:9,d} bytes: {rate:6.0f} jobs/s, p50 {p50:6.1f} ms, "
            f"p99 {p99:6.1f} ms, {jobs / commits:5.1f} jobs a commit"
        )
        if callers == 32 and size == 1_000:
            reached = rate
    print(f"target: {TARGET:.0f} jobs/s with 32 callers, reached {reached:.0f}")
    return int(reached < TARGET)


if __name__ == "__main__":
    raise SystemExit(main())

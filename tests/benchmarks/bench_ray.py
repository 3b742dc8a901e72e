"""Workers on Ray: what dispatching a job costs, and how throughput grows from 1 to 64 workers.

    python -m tests.benchmarks.bench_ray [WORKERS ...]

A cluster of this host alone, actors that only sleep: 1 s and 20 s for a job, in real time, and send
back 450 kB. As many jobs are in hand at any time as there are workers, as the queue has it, through
the executor that the daemon uses. Linear would be one job for each worker in the time that it
sleeps; the share of that is told, and the processor time of a job, with what the processes use for
themselves meanwhile. An actor is a process of some 100 MB: 64 want 7 GB of memory.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
import tempfile
import time

from miner.executor import WorkerHealth
from miner.gpu.plan import MemoryPlan
from miner.job import Job, JobSpec, new_job_id
from miner.ray_workers.executor import RayExecutor
from miner.settings import Settings, load_settings
from miner.workers.local_executor import LocalExecutor
from tests.benchmarks.processor_time import processor_seconds, shown

ENGINE = "tests.benchmarks.sleeping_engine:SleepingEngine"
WORKERS = (1, 4, 16, 64)
ROUNDS = {1.0: 5, 20.0: 1}
"""Seconds of a job, and how many each worker gets."""
TARGETS = {1.0: 0.90, 20.0: 0.95}
DISPATCHED = 300
START_SECONDS = 300.0


class NoMetrics:
    """Nobody looks at these workers."""

    def worker(self, health: WorkerHealth) -> None: ...

    def worker_restarted(self, name: str, reason: str) -> None: ...

    def plan(self, plan: MemoryPlan) -> None: ...

    def out_of_memory(self, stage: str, recovered: bool) -> None: ...

    def self_checked(self, score: float, passed: bool, candidates: int) -> None: ...


def settings_for(folder: str, workers: int) -> Settings:
    """Of a daemon on Ray with so many workers."""
    flags = {"weights": folder, "device": "cpu"}
    sections = {"worker": {"executor": "ray"}, "ray": {"workers": workers, "slow_factor": 0}}
    return load_settings("mini", {**flags, **sections}, environ={})


def a_job(seconds: float) -> Job:
    """One that sleeps."""
    due = time.monotonic() + 600.0
    return Job(new_job_id(), JobSpec(prompt=str(seconds)), "local", "benchmark", deadline=due)


async def overhead(executor: RayExecutor | LocalExecutor) -> float:
    """Milliseconds of a job that takes no time, one after the other."""
    began = time.perf_counter()
    for _ in range(DISPATCHED):
        await executor.submit(a_job(0.0))
    return (time.perf_counter() - began) / DISPATCHED * 1e3


async def share_of_linear(executor: RayExecutor, workers: int, seconds: float) -> float:
    """1 where every worker is always at work."""

    async def lane() -> None:
        for _ in range(ROUNDS[seconds]):
            await executor.submit(a_job(seconds))

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(workers)))
    return ROUNDS[seconds] * seconds / (time.perf_counter() - began)


async def all_ready(executor: RayExecutor, workers: int) -> None:
    """Returns when every worker is warm."""
    async with asyncio.timeout(START_SECONDS):
        while executor.capacity < workers:  # noqa: ASYNC110 - tells of itself only when it grows
            await asyncio.sleep(0.1)


async def measure(workers: int, folder: str) -> bool:
    """Prints how it went; whether the targets are reached."""
    began = time.perf_counter()
    async with RayExecutor(settings_for(folder, workers), NoMetrics(), ENGINE) as executor:
        await all_ready(executor, workers)
        start = time.perf_counter() - began
        text = f"{workers:3d} workers: ready after {start:5.1f} s"
        if workers == 1:
            text += f", {await overhead(executor):.1f} ms a job"
        print(text, flush=True)
        reached = True
        for seconds, target in TARGETS.items():
            before = processor_seconds()
            share = await share_of_linear(executor, workers, seconds)
            spent = shown(before, processor_seconds(), workers * ROUNDS[seconds])
            reached = reached and share >= target
            text = f"{share:.3f} of linear at {seconds:g} s (target {target})"
            print(f"             {text}, {spent}", flush=True)
        return reached


async def run(counts: list[int]) -> bool:
    """All counts, and beside them a process of this host."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(folder, 1)
        async with LocalExecutor(settings, settings.daemon.worker, NoMetrics(), ENGINE) as local:
            print(f"  1 process of this host, without Ray: {await overhead(local):.1f} ms a job")
        return all([await measure(workers, folder) for workers in counts])


def main() -> int:
    """1 when a target is missed; 0 also where Ray is not installed, which is told."""
    if importlib.util.find_spec("ray") is None:
        print("skipped: Ray is not installed; run: pip install 'splat-miner[ray]'")
        return 0
    logging.basicConfig(level=logging.WARNING)
    counts = [int(text) for text in sys.argv[1:]] or list(WORKERS)
    return int(not asyncio.run(run(counts)))


if __name__ == "__main__":
    sys.exit(main())

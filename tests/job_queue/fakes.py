"""What the queue works with, by hand: an executor, a journal in memory, a clock, counters."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from miner.errors import JobCancelled, KnownTask, MinerError
from miner.executor import ExecutorHealth, OnProgress, WorkerHealth
from miner.job import Asset, Job, JobSpec, Outcome
from miner.job_queue import JobQueue
from miner.settings.daemon import QueueSettings

_numbers = itertools.count()


class Clock:
    """Monotonic seconds that stand still until they are moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1e9


class HandExecutor:
    """Does each job when the test says so."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.occupied = 0  # by what is none of ours
        self.alive = True
        self.obeys_at_once = True
        self.service_seconds_hint: float | None = None
        self.running: dict[str, tuple[Job, asyncio.Future[Asset], OnProgress | None]] = {}
        self.begun: list[Job] = []
        self.cancelled: list[str] = []
        self._changed: list[Callable[[], None]] = []

    @property
    def capacity(self) -> int:
        busy = self.occupied + len(self.running)
        return max(0, self.workers - busy) if self.alive else 0

    @property
    def slots(self) -> int:
        return self.workers if self.alive else 0

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        assert self.capacity > 0, "handed a job without capacity"
        future: asyncio.Future[Asset] = asyncio.get_running_loop().create_future()
        self.running[job.id] = job, future, on_progress
        self.begun.append(job)
        try:
            return await future
        finally:
            del self.running[job.id]
            self.announce()

    def announce(self) -> None:
        for changed in self._changed:
            changed()

    def succeed(self, job_id: str, data: bytes = b"splat") -> None:
        self.running[job_id][1].set_result(an_asset(data))

    def fail(self, job_id: str, error: BaseException) -> None:
        self.running[job_id][1].set_exception(error)

    def progress(self, job_id: str, stage: str, done: int, total: int) -> None:
        told = self.running[job_id][2]
        assert told is not None
        told(stage, done, total)

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        if self.obeys_at_once and job_id in self.running and not self.running[job_id][1].done():
            self.fail(job_id, JobCancelled("withdrawn"))

    def health(self) -> ExecutorHealth:
        state = "ready" if self.alive else "restarting"
        return ExecutorHealth([WorkerHealth(str(i), state) for i in range(self.workers)])  # type: ignore[arg-type]

    async def drain(self) -> None:
        """Not used by the queue."""

    async def reload(self) -> None:
        """Not used by the queue."""


class MemoryJournal:
    """Remembers what it was told, in order; ``refuse`` is what it raises instead."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Job, float]] = {}
        self.attempts: dict[str, int] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.events: list[str] = []
        self.refuse: MinerError | None = None
        self.gate: asyncio.Event | None = None

    async def _disk(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse

    async def accept(self, job: Job, deadline_at: float) -> None:
        await self._disk()
        known = {(other.identity, other.task_id) for other, _ in self.jobs.values()}
        if job.id in self.jobs or (job.task_id and (job.identity, job.task_id) in known):
            raise KnownTask("known")
        self.jobs[job.id] = job, deadline_at
        self.attempts[job.id] = job.attempts

    def begin(self, job_id: str, attempts: int) -> None:
        assert job_id in self.jobs, "begun before it was accepted"
        self.attempts[job_id] = attempts

    def put_back(self, job_id: str, attempts: int) -> None:
        assert job_id in self.jobs
        self.attempts[job_id] = attempts

    async def finish(self, job_id: str, outcome: Outcome) -> None:
        await self._disk()
        assert job_id in self.jobs, "finished before it was accepted"
        self.outcomes.setdefault(job_id, []).append(outcome)

    async def unfinished(self) -> list[tuple[Job, float]]:
        return [
            (replace(job, deadline=float("inf"), attempts=self.attempts[job.id]), at)
            for job, at in self.jobs.values()
            if job.id not in self.outcomes
        ]

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        self.events.append(kind)


class Counters:
    """Counts calls, with the labels that matter."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.depth = self.in_flight = 0

    def job_accepted(self, identity: str, intake: str) -> None:
        self.seen["accepted", intake] += 1

    def job_refused(self, identity: str, code: str) -> None:
        self.seen["refused", code] += 1

    def job_joined(self) -> None:
        self.seen["joined",] += 1

    def job_finished(
        self,
        identity: str,
        intake: str,
        code: str,
        seconds: float,
        generator: str | None = None,
    ) -> None:
        assert seconds >= 0
        self.seen["finished", code] += 1

    def job_waited(self, seconds: float) -> None:
        assert seconds >= 0
        self.seen["waited",] += 1

    def stage(self, stage: str, generator: str, seconds: float) -> None:
        self.seen["stage", stage] += 1

    def asset(self, generator: str, bytes: int, gaussians: int) -> None:
        self.seen["asset",] += 1

    def queue(self, depth: int, in_flight: int) -> None:
        self.depth, self.in_flight = depth, in_flight


class Bench:
    """A queue with everything around it, running; to be used with ``async with``."""

    def __init__(
        self,
        workers: int = 1,
        journal: MemoryJournal | None = None,
        shares: Mapping[str, float] | None = None,
        **settings: Any,
    ) -> None:
        self.clock = Clock()
        self.executor = HandExecutor(workers)
        self.journal = journal or MemoryJournal()
        self.metrics = Counters()
        self.settings = QueueSettings(**settings)
        self.queue = JobQueue(
            self.executor,
            self.journal,
            self.settings,
            self.metrics,
            self.clock,
            self.clock.wall,
            shares,
        )
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Bench:
        self.task = asyncio.create_task(self.queue.run())
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Cancels the queue's run and waits for it."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
            assert self.task.cancelled(), self.task.exception()
            self.task = None

    async def later(self, seconds: float) -> None:
        """Moves the clock, and lets the queue look at it."""
        self.clock.now += seconds
        self.executor.announce()
        await settle()

    def job(self, prompt: str = "", **changes: Any) -> Job:
        """One with a spec of its own unless a prompt is given, due in 100 s."""
        number = next(_numbers)
        values: dict[str, Any] = {
            "id": f"{number:032x}",
            "spec": JobSpec(prompt=prompt or f"chair {number}"),
            "requester": "5Hot",
            "intake": "api",
            "deadline": self.clock.now + 100.0,
        }
        return Job(**(values | changes))


def an_asset(data: bytes = b"splat") -> Asset:
    """What the executor makes."""
    return Asset(data, "ply", 12, "triposr", {"reconstruct": 0.5, "encode": 0.1})


async def settle(turns: int = 12) -> None:
    """Lets everything that can go on go on."""
    for _ in range(turns):
        await asyncio.sleep(0)

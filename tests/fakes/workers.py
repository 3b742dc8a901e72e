"""What tests of worker processes need around them: a clock, metrics that remember, jobs, a wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miner.executor import WorkerHealth
from miner.gpu.plan import MemoryPlan
from miner.job import Job, JobSpec, new_job_id
from miner.settings import Settings, WorkerSettings, load_settings
from miner.workers.local_executor import LocalExecutor

PATIENCE_SECONDS = 120.0
HEARTBEAT_SECONDS = 0.05


class Time:
    """The real time, until a test lets the ticks of the watch fly or stands still for a while.

    Waits that are no ticks are written down and not waited for.
    """

    def __init__(self) -> None:
        self.flying = False
        self.ahead = 0.0
        self.waits: list[float] = []
        self.ticks = 0

    def clock(self) -> float:
        return time.monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        if seconds != HEARTBEAT_SECONDS:
            self.waits += [seconds] if seconds else []
            await asyncio.sleep(0)
            return
        self.ticks += 1
        if self.flying:
            self.ahead += seconds
            await asyncio.sleep(0.001)
        else:
            await asyncio.sleep(seconds)


@dataclass
class Metrics:
    """Remembers why workers were replaced, and the states each was seen in."""

    time: Time
    restarts: Counter[str] = field(default_factory=Counter)
    states: list[str] = field(default_factory=list)
    checks: list[tuple[float, bool, int]] = field(default_factory=list)
    shortages: list[tuple[str, bool]] = field(default_factory=list)
    plans: list[MemoryPlan] = field(default_factory=list)

    def worker(self, health: WorkerHealth) -> None:
        if self.states[-1:] != [health.state]:
            self.states.append(health.state)

    def worker_restarted(self, name: str, reason: str) -> None:
        self.restarts[reason] += 1
        self.time.flying = False  # the next life is judged by the real time again

    def plan(self, plan: MemoryPlan) -> None:
        self.plans.append(plan)

    def out_of_memory(self, stage: str, recovered: bool) -> None:
        self.shortages.append((stage, recovered))

    def self_checked(self, score: float, passed: bool, candidates: int) -> None:
        self.checks.append((score, passed, candidates))


@dataclass
class Workers:
    """An executor with fake engines, and what it was given."""

    executor: LocalExecutor
    time: Time
    metrics: Metrics
    folder: Path
    settings: Settings

    @property
    def pid(self) -> int | None:
        return self.executor.health().workers[0].pid

    async def make(self, prompt: str, seed: int = 0) -> bytes:
        return (await self.executor.submit(job(prompt, seed))).data

    def begin(self, prompt: str) -> asyncio.Task[bytes]:
        return asyncio.create_task(self.make(prompt))


@contextlib.asynccontextmanager
async def workers(engine: str, folder: Path, **settings: Any) -> AsyncIterator[Workers]:
    """Workers with an engine of ``tests.fakes.engines``, started, and ended afterwards."""
    made = build(engine, folder, **settings)
    async with made.executor:
        yield made


def build(engine: str, folder: Path, **settings: Any) -> Workers:
    """As ``workers``, not started."""
    now = Time()
    metrics = Metrics(now)
    models = load_settings("mini", {"weights": str(folder), "device": "cpu"}, environ={})
    executor = LocalExecutor(
        models,
        WorkerSettings(**{"heartbeat_seconds": HEARTBEAT_SECONDS, "hang_seconds": 60.0} | settings),
        metrics,
        engine=f"tests.fakes.engines:{engine}",
        clock=now.clock,
        sleep=now.sleep,
    )
    return Workers(executor, now, metrics, folder, models)


def job(prompt: str = "a red cube", seed: int = 0, image: bytes | None = None) -> Job:
    """A job for a prompt or a picture."""
    spec = JobSpec(prompt=None if image else prompt, image=image, seed=seed)
    return Job(new_job_id(), spec, "local", "api", deadline=time.monotonic() + 60)


async def until(condition: Callable[[], bool]) -> None:
    """Polls for what another process does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - no event of ours comes from another process
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process of that number is there and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):  # the latter while it goes
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"

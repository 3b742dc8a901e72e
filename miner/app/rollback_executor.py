"""An executor between the queue and the workers: it gives each job its plan.

Where a job goes is asked of the breaker at the moment the job begins, travels with it, and the
breaker is told how it went. The queue knows nothing of generators, and a worker decides nothing
about the service. One event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from miner.app.rollback import Rollback
from miner.errors import MinerError, WorkerLost
from miner.executor import Executor, ExecutorHealth, OnProgress
from miner.job import Asset, Job, Plan
from miner.pipeline.attempts import cause_of
from miner.pipeline.breaker import OUT_OF_MEMORY, WORKER_LOST, Choice, fits

MAX_LOST = 256
"""Jobs remembered for having cost a worker its life; far more than can wait for another try."""


class Workers(Executor, Protocol):
    """The executor behind this one."""

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of those that some worker holds that takes jobs; empty while none does."""

    def capacity_for(self, generator: str) -> int:
        """How many more jobs for a generator could begin at once.

        Where no worker holds it, any worker counts.
        """

    def slots_for(self, generator: str) -> int:
        """How many such jobs can be done at a time."""

    def seconds_hint_for(self, generator: str) -> float | None:
        """What such a job took to warm up with; None where that is not known."""


class RollbackExecutor:
    """Implements ``Executor``.

    Args:
        workers: do the jobs.
        rollback: decides.
        job_seconds: a job that takes longer costs its worker's life.
        clock: monotonic seconds, as in ``Job.deadline``.
    """

    def __init__(
        self,
        workers: Workers,
        rollback: Rollback,
        job_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._rollback = rollback
        self._breaker = rollback.breaker
        self._job_seconds = job_seconds
        self._clock = clock
        self._lost: dict[str, None] = {}
        self._seconds: dict[str, float] = {}
        self._generators: tuple[str, ...] = ()
        workers.subscribe(self._look)

    def _look(self) -> None:
        """Whether there is a generator to roll back to; while no worker is ready all stays."""
        known = self._workers.generators
        if known and known != self._generators:
            self._generators = known
            self._rollback.look(known)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        """As ``Executor.submit``; the asset says who made it, and why if not the primary."""
        choice = self._breaker.choose()
        if choice.automatic and job.id in self._lost:
            return await self._divert(job, choice, on_progress)
        planned, why = replace(job, plan=self._plan(job, choice)), self._breaker.cause
        began = self._clock()
        try:
            asset = await self._workers.submit(planned, on_progress)
        except MinerError as error:
            self._failed(job, choice, error)
            raise
        except BaseException:
            self._breaker.nothing_learned(choice)
            raise
        seconds = self._clock() - began
        if asset.cause:
            self._breaker.failed(choice, asset.cause)
        elif self._is_stand_in(choice, asset):
            self._breaker.nothing_learned(choice)
            asset = replace(asset, cause=WORKER_LOST)
        else:
            self._breaker.succeeded(choice, seconds)
        self._seconds[asset.generator] = seconds
        return self._signed(job, choice.generator, asset, why)

    async def _divert(self, job: Job, choice: Choice, on_progress: OnProgress | None) -> Asset:
        """A job that cost a worker its life under the primary is not given to it again."""
        self._breaker.nothing_learned(choice)
        settings = self._rollback.settings
        plan = Plan(settings.generator, seconds=self._left(job))
        asset = await self._workers.submit(replace(job, plan=plan), on_progress)
        self._lost.pop(job.id, None)
        asset = replace(asset, cause=asset.cause or WORKER_LOST)
        return self._signed(job, settings.primary, asset, WORKER_LOST)

    def _plan(self, job: Job, choice: Choice) -> Plan:
        settings = self._rollback.settings
        away = choice.generator != settings.primary
        other = settings.primary if away else settings.generator
        spare = (s for s in settings.steps if s not in choice.steps and fits(s, OUT_OF_MEMORY))
        return Plan(
            generator=choice.generator,
            fallback=other if choice.automatic else "",
            seconds=self._left(job),
            least_seconds=0.0 if away else settings.least_seconds,
            steps=() if away else choice.steps,
            spare_steps=tuple(spare) if not away and self._breaker.state != "pinned" else (),
        )

    def _is_stand_in(self, choice: Choice, asset: Asset) -> bool:
        """Whether another generator had the job since no worker holds the one it was for."""
        names = self._rollback.settings.names
        return asset.generator in names and asset.generator != choice.generator

    def _left(self, job: Job) -> float:
        """What there is of time for a job that begins now."""
        return max(0.0, min(job.deadline - self._clock(), self._job_seconds))

    def _failed(self, job: Job, choice: Choice, error: MinerError) -> None:
        if isinstance(error, WorkerLost) and choice.generator == self._rollback.settings.primary:
            self._lost[job.id] = None
            if len(self._lost) > MAX_LOST:
                del self._lost[next(iter(self._lost))]
        if cause := cause_of(error):
            self._breaker.failed(choice, cause)
        else:
            self._breaker.nothing_learned(choice)

    def _signed(self, job: Job, planned: str, asset: Asset, why: str) -> Asset:
        """The asset, counted; one that is not the primary's says why."""
        if planned == asset.generator == self._rollback.settings.generator:
            self._rollback.rollback_gave_a_result()
        if asset.cause and asset.generator != planned:
            self._rollback.job_rolled_back(job.id, planned, asset.generator, asset.cause)
        if asset.generator == self._rollback.settings.generator:
            return replace(asset, cause=asset.cause or why)
        return asset

    # What the queue and the daemon ask of the workers

    @property
    def capacity(self) -> int:
        """Of the workers that hold the generator in use; the others are its reserve."""
        return self._workers.capacity_for(self._breaker.generator)

    @property
    def slots(self) -> int:
        """Of the same workers."""
        return self._workers.slots_for(self._breaker.generator)

    @property
    def service_seconds_hint(self) -> float | None:
        """What the generator in use took the last time, or to warm up with."""
        known = self._seconds.get(self._breaker.generator)
        return self._workers.seconds_hint_for(self._breaker.generator) if known is None else known

    def subscribe(self, changed: Callable[[], None]) -> None:
        """As the workers'; also called when other workers are in use than before."""
        self._workers.subscribe(changed)
        self._rollback.on_generator(changed)

    def cancel(self, job_id: str) -> None:
        """As the workers'."""
        self._workers.cancel(job_id)

    def health(self) -> ExecutorHealth:
        """As the workers'."""
        return self._workers.health()

    async def drain(self) -> None:
        """As the workers'."""
        await self._workers.drain()

    async def reload(self) -> None:
        """As the workers'."""
        await self._workers.reload()

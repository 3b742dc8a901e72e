"""The executor with worker processes of this host: one for each GPU, or one on the CPU.

Chooses who does a job, and starts, drains, reloads and ends the workers together. How one worker is
kept alive is the supervisor's business. Uses no library of the models.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

from miner.errors import Draining, StartupError
from miner.executor import ExecutorHealth, OnProgress
from miner.job import Asset, Job
from miner.settings import Settings, WorkerSettings, worker_environment
from miner.workers.changes import Changes
from miner.workers.life import Tools, WorkerMetrics
from miner.workers.process import WorkerProcess
from miner.workers.supervisor import Supervisor

log = logging.getLogger(__name__)

ENGINE = "miner.workers.engine:PipelineEngine"


class LocalExecutor:
    """Does jobs in worker processes of this host; see ``Executor``.

    ``async with`` it: entering returns when the first worker is ready, leaving ends them all.

    Args:
        settings: preset, device and weights of the engines.
        worker: how many, on which GPUs, and their limits.
        metrics: told how the workers are.
        engine: ``module:Class`` of an ``Engine``, imported by the workers alone.
        clock: monotonic seconds.
        sleep: waits between the looks at a worker, and between its lives.
    """

    def __init__(
        self,
        settings: Settings,
        worker: WorkerSettings,
        metrics: WorkerMetrics,
        engine: str = ENGINE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._changes = Changes()
        self._draining = False
        self._reloading = asyncio.Lock()
        self._metrics = metrics
        self._threshold = settings.preset.self_check.threshold
        self._tasks: list[asyncio.Task[None]] = []
        tools = Tools(worker, self._changes, metrics, clock, sleep)
        self._supervisors = [
            Supervisor(
                str(index),
                partial(_spawn, str(index), engine, worker.gpus[index] if worker.gpus else None),
                _configuration(settings),
                tools,
            )
            for index in range(worker.count)
        ]

    async def __aenter__(self) -> LocalExecutor:
        """Starts all workers, and waits for the first.

        Raises:
            StartupError: a worker could not start.
        """
        self._tasks = [
            asyncio.create_task(supervisor.run(), name=f"worker {supervisor.name}")
            for supervisor in self._supervisors
        ]
        try:
            await self._changes.until(lambda: self.health().ready or self._failure() is not None)
            if failure := self._failure():
                raise failure
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def run(self) -> None:
        """Waits until a worker cannot be kept alive: to be run beside the rest of the daemon.

        Raises:
            StartupError: a worker could not start the first time.
        """
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()

    @property
    def capacity(self) -> int:
        """How many more jobs could begin at once."""
        if self._draining:
            return 0
        return sum(supervisor.capacity for supervisor in self._supervisors)

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of those that every worker that was ready has; empty until one was."""
        said = [one.readiness for one in self._supervisors]
        known = [readiness.generators for readiness in said if readiness is not None]
        if not known:
            return ()
        return tuple(name for name in known[0] if all(name in others for others in known))

    @property
    def service_seconds_hint(self) -> float | None:
        """What the slowest worker's warm-up job took."""
        said = (supervisor.readiness for supervisor in self._supervisors)
        return max((one.warm_up_seconds for one in said if one is not None), default=None)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called in the event loop whenever ``capacity`` may have grown."""
        self._changes.subscribe(changed)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        """Does one job. Without capacity it waits for some: jobs may be handed over in a burst.

        Raises:
            Draining: nothing new is begun any more.
            WorkerLost: the worker died, hung or was killed under the job: it may be tried again.
            JobError: the job failed, was cancelled or ran out of memory.
            RequestError: the picture or prompt turned out not to be usable.
        """
        await self._changes.until(lambda: self.capacity > 0 or self._draining)
        if self._draining:
            raise Draining("the workers take nothing new")
        free = (supervisor for supervisor in self._supervisors if supervisor.capacity)
        chosen = min(free, key=lambda one: one.in_hand)
        plan = replace(job.plan, free_seconds=job.free_seconds)
        asset = await chosen.submit(replace(job, plan=plan), on_progress)
        if asset.score is not None:
            passed = asset.score >= self._threshold
            self._metrics.self_checked(asset.score, passed, asset.candidates)
        return asset

    def cancel(self, job_id: str) -> None:
        """Asks a running job to stop at its next look.

        A job whose device half is done finishes all the same.
        """
        for supervisor in self._supervisors:
            supervisor.cancel(job_id)

    def health(self) -> ExecutorHealth:
        """How the workers are."""
        return ExecutorHealth([supervisor.health() for supervisor in self._supervisors])

    async def drain(self) -> None:
        """Takes no new jobs from now on; returns when none is running."""
        self._draining = True
        self._changes.announce()
        await self._changes.until(lambda: not any(one.in_hand for one in self._supervisors))

    async def reload(self, settings: Settings | None = None) -> None:
        """Replaces the workers one after the other, each after its jobs; returns when all are.

        Args:
            settings: for the new ones and all that follow; as they were where not given.

        Raises:
            StartupError: a new worker did not start or warm up. With new settings all workers are
                as they were before; else those after it are left as they were.
        """
        async with self._reloading:
            if settings is None:
                for supervisor in self._supervisors:
                    await supervisor.replace()
                return
            before = self._supervisors[0].configuration
            changed: list[Supervisor] = []
            try:
                for supervisor in self._supervisors:
                    changed.append(supervisor)
                    supervisor.configuration = _configuration(settings)
                    await supervisor.replace()
            except BaseException as error:
                for supervisor in changed:  # first all of them: whoever starts now starts as before
                    supervisor.configuration = before
                if isinstance(error, StartupError):
                    await _back(changed)
                raise
            self._threshold = settings.preset.self_check.threshold

    def _failure(self) -> StartupError | None:
        failures = (supervisor.failure for supervisor in self._supervisors)
        return next((failure for failure in failures if failure is not None), None)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _back(changed: Sequence[Supervisor]) -> None:
    """Returns when workers that were to change are as they were, or cannot even be that."""
    for supervisor in changed:
        try:
            await supervisor.settle()
        except StartupError as error:  # its supervisor goes on trying
            log.error("worker %s: not back yet: %s", supervisor.name, error)


async def _spawn(name: str, engine: str, gpu: str | None) -> WorkerProcess:
    return await WorkerProcess.spawn(name, engine, worker_environment(gpu))


def _configuration(settings: Settings) -> Mapping[str, Any]:
    """What an engine needs to know, as JSON values; nothing of the daemon's own settings."""
    return {
        "preset": settings.preset.model_dump(mode="json"),
        "device": settings.device,
        "weights": str(settings.weights),
        "rollback": settings.daemon.rollback.model_dump(mode="json"),
    }

"""A pool of supervised workers: who does a job, and how all are drained and replaced together.

Where the workers run, how many there are and what else begins and ends with them is the
business of those built on it: ``local_executor.py`` and ``ray_workers/executor.py``. How one worker
is kept alive is the supervisor's. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from miner.errors import Draining, StartupError
from miner.executor import ExecutorHealth, OnProgress
from miner.job import Asset, Job
from miner.settings import Settings
from miner.workers.changes import Changes
from miner.workers.life import Tools
from miner.workers.supervisor import Supervisor

log = logging.getLogger(__name__)


class Pool(ABC):
    """All of an ``Executor`` but where its workers come from: ``_begin`` and ``_end``.

    ``async with`` it: entering returns when the first worker is ready, leaving ends all.

    Attributes:
        supervisors: the workers there are now; those built on this one add and remove.
        configuration: for the engines of workers that are added, as JSON values.
    """

    def __init__(self, settings: Settings, tools: Tools) -> None:
        self.supervisors: list[Supervisor] = []
        self.configuration = configuration(settings)
        self._tools = tools
        self._changes: Changes = tools.changes
        self._draining = False
        self._reloading = asyncio.Lock()
        self._threshold = settings.preset.self_check.threshold

    async def __aenter__(self) -> Self:
        """Starts the workers, and waits for the first.

        Raises:
            StartupError: there is none, and will be none.
        """
        self._begin()
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

    @abstractmethod
    def _begin(self) -> None:
        """Starts what keeps the workers; returns at once."""

    @abstractmethod
    async def _end(self) -> None:
        """Ends all that was begun; also what was begun halfway."""

    @property
    def capacity(self) -> int:
        """How many more jobs could begin at once."""
        if self._draining:
            return 0
        return sum(supervisor.capacity for supervisor in self.supervisors)

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of those that every worker that was ready has; empty until one was."""
        said = [one.readiness for one in self.supervisors]
        known = [readiness.generators for readiness in said if readiness is not None]
        if not known:
            return ()
        return tuple(name for name in known[0] if all(name in others for others in known))

    @property
    def service_seconds_hint(self) -> float | None:
        """What the slowest worker's warm-up job took."""
        said = (supervisor.readiness for supervisor in self.supervisors)
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
        free = (supervisor for supervisor in self.supervisors if supervisor.capacity)
        chosen = min(free, key=lambda one: one.in_hand)
        plan = replace(job.plan, free_seconds=job.free_seconds)
        began = self._tools.clock()
        asset = await chosen.submit(replace(job, plan=plan), on_progress)
        self._did(chosen, self._tools.clock() - began)
        if asset.score is not None:
            passed = asset.score >= self._threshold
            self._tools.metrics.self_checked(asset.score, passed, asset.candidates)
        return asset

    def cancel(self, job_id: str) -> None:
        """Asks a running job to stop at its next look.

        A job whose device half is done finishes all the same.
        """
        for supervisor in self.supervisors:
            supervisor.cancel(job_id)

    def health(self) -> ExecutorHealth:
        """How the workers are."""
        return ExecutorHealth([supervisor.health() for supervisor in self.supervisors])

    async def drain(self) -> None:
        """Takes no new jobs from now on; returns when none is running."""
        self._draining = True
        self._changes.announce()
        await self._changes.until(lambda: not any(one.in_hand for one in self.supervisors))

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
                for placed in filter(self._is_placed, list(self.supervisors)):
                    await placed.replace()
                return
            before, self.configuration = self.configuration, configuration(settings)
            changed: list[Supervisor] = []
            try:
                while (supervisor := self._next_to_change()) is not None:
                    supervisor.configure(self.configuration)
                    if self._is_placed(supervisor):
                        changed.append(supervisor)
                        await supervisor.replace()
            except BaseException as error:
                self.configuration = before
                for other in self.supervisors:  # first all: who starts now starts as before
                    other.configure(before)
                if isinstance(error, StartupError):
                    await _back([one for one in changed if one in self.supervisors])
                raise
            self._threshold = settings.preset.self_check.threshold

    def _did(self, supervisor: Supervisor, seconds: float) -> None:  # noqa: B027 - may be ignored
        """Told of every job that went well: who did it, and how long it took."""

    def _next_to_change(self) -> Supervisor | None:
        others = (one for one in self.supervisors if one.configuration is not self.configuration)
        return next(others, None)

    def _is_placed(self, _supervisor: Supervisor) -> bool:
        """Whether it has a place to run at, now or after its next start."""
        return True

    def _failure(self) -> StartupError | None:
        failures = (supervisor.failure for supervisor in self.supervisors)
        return next((failure for failure in failures if failure is not None), None)


async def _back(changed: Sequence[Supervisor]) -> None:
    """Returns when workers that were to change are as they were, or cannot even be that."""
    for supervisor in changed:
        try:
            await supervisor.settle()
        except StartupError as error:  # its supervisor goes on trying
            log.error("worker %s: not back yet: %s", supervisor.name, error)


def configuration(settings: Settings) -> Mapping[str, Any]:
    """What an engine needs to know, as JSON values; nothing of the daemon's own settings."""
    return {
        "preset": settings.preset.model_dump(mode="json"),
        "device": settings.device,
        "weights": str(settings.weights),
        "rollback": settings.daemon.rollback.model_dump(mode="json"),
    }

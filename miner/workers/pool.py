"""A pool of supervised workers: who does a job, and how all are drained and replaced together.

Which worker does a job is ``dispatch.py``'s choice. Where the workers run, how many there are and
what else begins and ends with them is the business of those built on this: ``local_executor.py``
and ``ray_workers/executor.py``. How one worker is kept alive is the supervisor's. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from miner.errors import StartupError
from miner.executor import ExecutorHealth, OnProgress
from miner.job import Asset, Job
from miner.settings import Settings
from miner.workers.changes import Changes
from miner.workers.configurations import Configurations
from miner.workers.dispatch import Dispatch
from miner.workers.handle import Handle
from miner.workers.life import RELOAD, Tools
from miner.workers.roster import ANY
from miner.workers.spread import Spread
from miner.workers.supervisor import Supervisor

log = logging.getLogger(__name__)


class Pool(ABC):
    """All of an ``Executor`` but where its workers come from: ``_begin`` and ``_end``.

    ``async with`` it: entering returns when the first worker is ready, leaving ends all.

    Attributes:
        supervisors: the workers there are now; those built on this one add and remove.
    """

    def __init__(self, settings: Settings, tools: Tools) -> None:
        self.supervisors: list[Supervisor] = []
        self._tools = tools
        self._changes: Changes = tools.changes
        self._spread = Spread.of(tools.settings, settings.daemon.rollback)
        self._configurations = Configurations(settings, self._spread)
        self._dispatch = Dispatch(tools, self._done)
        self._reloading = asyncio.Lock()
        self._threshold = settings.preset.self_check.threshold

    async def __aenter__(self) -> Self:
        """Starts the workers, and waits for the first.

        Raises:
            StartupError: there is none, and will be none.
        """
        self._begin()
        try:
            await self._changes.until(lambda: self.slots > 0 or self._failure() is not None)
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
        return self.capacity_for(ANY)

    @property
    def slots(self) -> int:
        """How many jobs can be done at a time."""
        return self.slots_for(ANY)

    @property
    def service_seconds_hint(self) -> float | None:
        """What the slowest worker's warm-up job took."""
        return self.seconds_hint_for(ANY)

    @property
    def configuration(self) -> Mapping[str, Any]:
        """For the engine of a worker that holds all there is, as JSON values."""
        return self._configurations.whole

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of those that some worker holds that takes jobs; empty while none does."""
        return self._dispatch.roster.generators

    def capacity_for(self, generator: str) -> int:
        """How many more jobs for a generator could begin at once.

        Where no worker holds it, any worker counts.
        """
        return self._dispatch.capacity(generator)

    def slots_for(self, generator: str) -> int:
        """How many such jobs can be done at a time."""
        return self._dispatch.roster.slots(generator)

    def seconds_hint_for(self, generator: str) -> float | None:
        """What the warm-up job of the slowest worker took that has this generator first.

        None where none has; of all workers, where nobody holds it.
        """
        said = [one.readiness for one in self.supervisors]
        known = [readiness for readiness in said if readiness is not None]
        if generator in self.generators:
            known = [one for one in known if one.generators[0] == generator]
        return max((one.warm_up_seconds for one in known), default=None)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called in the event loop whenever ``capacity`` may have grown."""
        self._changes.subscribe(changed)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        """Does one job. Without capacity it waits for some: jobs may be handed over in a burst.

        Where a generator fails whose worker does not hold the plan's fallback, another worker
        begins the job again: of the same prompt and seed it paints the same picture.

        Raises:
            Draining: nothing new is begun any more.
            WorkerLost: the worker died, hung or was killed under the job: it may be tried again.
            DeadlineExceeded: no worker was free in the plan's time.
            JobError: the job failed, was cancelled or ran out of memory.
            RequestError: the picture or prompt turned out not to be usable.
        """
        return await self._dispatch.submit(job, on_progress)

    def cancel(self, job_id: str) -> None:
        """Asks a running job to stop at its next look; one that waits for a worker ends at once.

        A job whose device half is done finishes all the same.
        """
        self._dispatch.cancel(job_id)

    def health(self) -> ExecutorHealth:
        """How the workers are."""
        return ExecutorHealth([supervisor.health() for supervisor in self.supervisors])

    async def drain(self) -> None:
        """Takes no new jobs from now on; returns when none is running."""
        self._dispatch.close()
        await self._changes.until(lambda: not any(one.in_hand for one in self.supervisors))

    async def reload(self, settings: Settings | None = None) -> None:
        """Replaces the workers one after the other, each after its jobs; returns when all are.

        Each goes on with the generators that it held.

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
            before = self._configurations
            self._configurations = Configurations(settings, self._spread)
            changed: list[Supervisor] = []
            try:
                while (supervisor := self._next_to_change()) is not None:
                    supervisor.configure(self._wanted(supervisor))
                    if self._is_placed(supervisor):
                        changed.append(supervisor)
                        await supervisor.replace()
            except BaseException as error:
                self._configurations = before
                for other in self.supervisors:  # first all: who starts now starts as before
                    other.configure(self._wanted(other))
                if isinstance(error, StartupError):
                    await _back([one for one in changed if one in self.supervisors])
                raise
            self._threshold = settings.preset.self_check.threshold

    def _done(self, worker: Supervisor, asset: Asset, seconds: float) -> None:
        self._did(worker, seconds)
        if asset.score is not None:
            passed = asset.score >= self._threshold
            self._tools.metrics.self_checked(asset.score, passed, asset.candidates)

    def _did(self, supervisor: Supervisor, seconds: float) -> None:  # noqa: B027 - may be ignored
        """Told of every job that went well: who did it, and how long it took."""

    # Which generators a worker holds

    def _new_worker(self, name: str, spawn: Callable[[], Awaitable[Handle]]) -> Supervisor:
        """One more, with the share that is due; whoever adds it has it run."""
        share = self._spread.next(map(self._share_of, self.supervisors))
        supervisor = Supervisor(name, spawn, self._configurations.of(share), self._tools)
        self.supervisors.append(supervisor)
        return supervisor

    def _even_out(self) -> None:
        """Where a generator has lost its last worker for good another worker changes over to it.

        That is one without a process, where there is one, or else the one with the fewest jobs.
        """
        order = sorted(self.supervisors, key=lambda one: (one.has_process, one.in_hand))
        while (change := self._spread.change([self._share_of(one) for one in order])) is not None:
            index, share = change
            self._change_over(order[index], share)

    def _change_over(self, supervisor: Supervisor, share: str) -> None:
        """Has its next life hold another share; that begins after its jobs."""
        log.warning("worker %s: changes over to %s", supervisor.name, share)
        supervisor.configure(self._configurations.of(share))
        if supervisor.has_process:
            supervisor.leave(RELOAD)

    def _share_of(self, supervisor: Supervisor) -> str:
        return self._configurations.share_of(supervisor.configuration)

    def _wanted(self, supervisor: Supervisor) -> Mapping[str, Any]:
        return self._configurations.like(supervisor.configuration)

    def _next_to_change(self) -> Supervisor | None:
        others = (one for one in self.supervisors if one.configuration is not self._wanted(one))
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

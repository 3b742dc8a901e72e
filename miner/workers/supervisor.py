"""Keeps one worker alive: life after life, with a wait after deaths that doubles.

A worker that cannot start the first time is the operator's to mend, and ends the daemon; later a
failed start counts as a death. Whether the jobs of a lost worker are tried again is the queue's
decision. One event loop; ``run`` writes the state.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from miner.errors import StartupError
from miner.executor import OnProgress, WorkerHealth, WorkerState
from miner.job import Asset, Job
from miner.settings import WorkerSettings
from miner.workers.handle import Handle
from miner.workers.life import PLANNED, RELOAD, START, Life, LifeOver, Readiness, Tools

log = logging.getLogger(__name__)

MAX_FIRST_STARTS = 3
"""Deaths before the first ready after which the cause is taken to be the operator's to mend."""

MAX_DOUBLINGS = 32


class Supervisor:
    """One worker, over all its lives.

    Attributes:
        configuration: for the engine of the next life, as JSON values.
        failure: why ``run`` gave up for good, if it has.
    """

    def __init__(
        self,
        name: str,
        spawn: Callable[[], Awaitable[Handle]],
        configuration: Mapping[str, Any],
        tools: Tools,
    ) -> None:
        self.name = name
        self.configuration = configuration
        self.failure: StartupError | None = None
        self._spawn = spawn
        self._tools = tools
        self._life = self._new_life()
        self._last_readiness: Readiness | None = None
        self._stopped = False
        self._deaths = self._deaths_in_row = self._failed_starts = 0
        self._last_error: str | None = None

    # What others ask

    @property
    def readiness(self) -> Readiness | None:
        """What the latest life that was ready said of itself."""
        return self._life.readiness or self._last_readiness

    @property
    def capacity(self) -> int:
        """1 when a job could begin now."""
        return self._life.capacity

    @property
    def holds(self) -> tuple[str, ...] | None:
        """Generators for new jobs, now or after the one it is at; None while it takes none."""
        life = self._life
        if not life.takes_jobs or life.leaving is not None or life.readiness is None:
            return None
        return life.readiness.generators

    @property
    def in_hand(self) -> int:
        """Jobs begun and not answered, also those that nobody waits for."""
        return len(self._life.flights)

    def health(self) -> WorkerHealth:
        """How the worker is."""
        life, readiness = self._life, self.readiness
        seen, current = life.seen_at, life.flights.current
        return WorkerHealth(
            name=self.name,
            state=self._state(),
            pid=life.pid,
            device=readiness.device if readiness else None,
            restarts=self._deaths,
            heartbeat_age=None if seen is None else max(0.0, self._tools.clock() - seen),
            job_id=current.job.id if current else None,
            memory=life.memory,
            load_seconds=readiness.load_seconds if readiness else {},
            last_error=self._last_error,
            plan=readiness.plan if readiness else {},
            generators=readiness.generators if readiness else (),
            node=life.node,
        )

    async def submit(self, job: Job, on_progress: OnProgress | None) -> Asset:
        """As ``Executor.submit``; only while ``capacity`` is 1."""
        return await self._life.submit(job, on_progress)

    def cancel(self, job_id: str) -> None:
        """As ``Executor.cancel``; a job that is not here is not an error."""
        for flight in self._life.flights:
            if flight.job.id == job_id:
                self._life.withdraw(flight)

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Has the next life run with this; a life without a process yet is the next one."""
        self.configuration = configuration
        if not self.has_process:
            self._life.configuration = configuration

    @property
    def has_process(self) -> bool:
        """Whether there is a worker, warm or not."""
        return self._life.pid is not None

    def leave(self, reason: str) -> None:
        """Ends the life after its jobs, which counts as a death; it gets no new ones."""
        self._life.leaving = self._life.leaving or reason
        self._changed()

    async def replace(self) -> None:
        """Ends the worker after its jobs; returns when its successor is ready.

        Raises:
            StartupError: the successor did not start; it is tried again all the same.
        """
        old, failed = self._life, self._failed_starts
        old.leaving = RELOAD
        self._changed()
        await self._tools.changes.until(
            lambda: (
                (self._life is not old and self._life.takes_jobs)
                or self._failed_starts > failed
                or self._stopped
            )
        )
        if self._stopped or self._failed_starts > failed:
            raise StartupError(f"worker {self.name}: {self._last_error or 'stopped'}")

    async def settle(self) -> None:
        """Returns when a life with the configuration that holds now takes jobs.

        One with another configuration ends after its jobs.

        Raises:
            StartupError: it did not start; it is tried again all the same.
        """
        while not self._is_settled():
            life, failed = self._life, self._failed_starts
            if not self._is_as_configured():
                life.leaving = life.leaving or RELOAD
                self._changed()
            await self._tools.changes.until(
                lambda life=life, failed=failed: (  # type: ignore[misc]
                    self._is_settled()
                    or self._life is not life
                    or self._failed_starts > failed
                    or self._stopped
                )
            )
            if self._stopped or (self._failed_starts > failed and self._is_as_configured()):
                raise StartupError(f"worker {self.name}: {self._last_error or 'stopped'}")

    def _is_as_configured(self) -> bool:
        return self._life.configuration is self.configuration

    def _is_settled(self) -> bool:
        return self._is_as_configured() and self._life.takes_jobs

    # Its lives

    async def run(self) -> None:
        """Keeps a worker alive until cancelled, and then ends it.

        Raises:
            StartupError: it could not start the first time.
        """
        try:
            while True:
                over = await self._live()
                self._tools.metrics.worker_restarted(self.name, over.reason)
                if over.reason in PLANNED:
                    log.info("worker %s: replaced (%s)", self.name, over.reason)
                else:
                    await self._tools.sleep(self._wait_after(over))
                self._last_readiness = self.readiness
                self._life = self._new_life()
        except StartupError as error:
            self.failure = error
            self._last_error = str(error)
            raise
        finally:
            self._stopped = True
            self._life.pid = None
            self._changed()

    async def _live(self) -> LifeOver:
        """One life; a failed start is an end like another, once there was a good one."""
        life = self._life
        self._changed()
        try:
            over = await life.live(self._spawn)
        except StartupError as error:
            if self.readiness is None:
                raise
            over = LifeOver(START, str(error))
        life.pid = None
        return over

    def _wait_after(self, over: LifeOver) -> float:
        """Writes a death down; seconds to wait before the next life."""
        settings, ready = self._tools.settings, self._life.readiness
        self._deaths += 1
        self._deaths_in_row += 1
        self._last_error = f"{over.reason}: {over.detail}"
        if ready is None:
            self._failed_starts += 1
        elif self._life.jobs_done or (
            self._tools.clock() - ready.at > settings.max_restart_backoff_seconds
        ):
            self._deaths_in_row = 1
        if self.readiness is None and self._deaths >= MAX_FIRST_STARTS:
            died = f"died {self._deaths} times before it was ready"
            raise StartupError(f"worker {self.name} {died}: {over.detail}")
        wait = backoff_seconds(settings, self._deaths_in_row)
        log.error("worker %s: %s; next start in %.1f s", self.name, self._last_error, wait)
        self._changed()
        return wait

    def _new_life(self) -> Life:
        return Life(self.name, self.configuration, self._tools, self._changed)

    def _changed(self) -> None:
        self._tools.metrics.worker(self.health())
        self._tools.changes.announce(self)

    def _state(self) -> WorkerState:
        life = self._life
        if self._stopped:
            return "failed" if self.failure else "stopped"
        if not life.takes_jobs:
            return "starting" if self.readiness is None else "restarting"
        if life.leaving is not None:
            return "draining"
        return "busy" if len(life.flights) else "ready"


def backoff_seconds(settings: WorkerSettings, deaths_in_row: int) -> float:
    """How long to wait after that many deaths in a row: doubles from one bound to the other."""
    doubled = settings.restart_backoff_seconds * 2.0 ** min(deaths_in_row - 1, MAX_DOUBLINGS)
    return min(doubled, settings.max_restart_backoff_seconds)

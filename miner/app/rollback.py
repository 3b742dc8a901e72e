"""The breaker's host: keeps, tells and remembers its decisions, and takes those of people.

Every decision is a line in the log, a metric, and an event and a fact in the journal, so that it
survives a restart. Which job goes where is asked by ``rollback_executor.py``, its only other user.
One event loop.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import structlog

from miner.errors import ControlError
from miner.pipeline.breaker import Breaker, Change
from miner.settings import RollbackSettings

FACT = "rollback"
"""In the journal: what the next life has to know."""
EVENT, JOB_EVENT = "rollback", "rollback_job"

BUILT_IN = ("primary", "generator", "residency", "keep_seconds")
"""Settings that the workers were started with."""

MAX_CHANGES = 50
"""Shown in the status."""

log = structlog.get_logger(__name__)


class Decisions(Protocol):
    """Where decisions outlive the process; the journal."""

    async def state(self, key: str) -> str | None:
        """A fact."""

    def set_state(self, key: str, value: str) -> None:
        """Keeps one."""

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """A decision, for the log."""


class RollbackMetrics(Protocol):
    """What is counted."""

    def generator_active(self, name: str) -> None:
        """New jobs go to it."""

    def rollback_state(self, state: str, steps: tuple[str, ...]) -> None:
        """How the breaker is."""

    def rollback_changed(self, state: str, cause: str) -> None:
        """It decided something."""

    def rollback_lasted(self, seconds: float) -> None:
        """The service came back after so long."""

    def rollback_job(self, cause: str) -> None:
        """One job was made by another generator than planned."""

    def rollback_first_result(self, seconds: float) -> None:
        """The first result after a rollback took so long from the decision on."""


class Rollback:
    """One breaker in service.

    Args:
        settings: of the breaker; replaced by ``reconfigure``.
        journal: remembers decisions.
        metrics: told of them.
        clock, wall_clock: monotonic and unix seconds.

    Attributes:
        breaker: decides; of its methods others use those about jobs alone.
        settings: those that hold now.
    """

    def __init__(
        self,
        settings: RollbackSettings,
        journal: Decisions,
        metrics: RollbackMetrics,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.breaker = Breaker(settings, clock, self._changed)
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._wall_clock = wall_clock
        self._changes: deque[dict[str, Any]] = deque(maxlen=MAX_CHANGES)
        self._listeners: list[Callable[[], None]] = []
        self._active = self.breaker.generator
        self._away_since: float | None = None
        self._first_result_due = False
        self._first_result_seconds: float | None = None

    async def recall(self, generators: Iterable[str]) -> None:
        """Goes on where the last life was; to be called before the first job.

        Args:
            generators: what the workers have.

        Raises:
            JournalUnavailable: the disk cannot be read.
        """
        text = await self._journal.state(FACT)
        try:
            memory = json.loads(text) if text else {}
        except ValueError:
            memory = {}
        if isinstance(memory, dict):
            self.breaker.recall(memory, self._wall_clock())
        self.look(generators)
        if self.breaker.state != "closed":
            log.warning("rollback_recalled", state=self.breaker.state, cause=self.breaker.cause)
        self._follow()

    # What people ask

    def rollback(self) -> Mapping[str, Any]:
        """Holds the rollback generator from now on.

        Raises:
            ControlError: no worker has it.
        """
        if not self.breaker.offered:
            wanted = self.settings.generator or "none is named (rollback.generator)"
            raise ControlError(f"no worker has a generator to roll back to: {wanted}")
        self.breaker.pin("rollback")
        return self.report()

    def restore(self, hold: bool) -> Mapping[str, Any]:
        """Back to the primary; it is left again when it fails, unless it is to be held."""
        if hold:
            self.breaker.pin("primary")
        else:
            self.breaker.release()
        return self.report()

    def reconfigure(self, settings: RollbackSettings) -> None:
        """New thresholds hold from now on; what the workers were started with stays."""
        fixed = {key: getattr(self.settings, key) for key in BUILT_IN}
        self.settings = settings.model_copy(update=fixed)
        self.breaker.reconfigure(self.settings)

    def on_generator(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called whenever new jobs go to another generator than before."""
        self._listeners.append(changed)

    @property
    def away_seconds(self) -> float:
        """So long new jobs have gone to the rollback generator; 0 while they do not."""
        return 0.0 if self._away_since is None else self._clock() - self._away_since

    def report(self) -> Mapping[str, Any]:
        """How it is, as JSON values."""
        breaker = self.breaker
        return {
            "state": breaker.state,
            "generator": breaker.generator,
            "cause": breaker.cause,
            "steps": list(breaker.steps),
            "offered": breaker.offered,
            "away_seconds": round(self.away_seconds, 3),
            "cool_down_seconds": breaker.cool_down_seconds,
            "first_result_seconds": self._first_result_seconds,
            "changes": list(self._changes),
        }

    # What happens

    def look(self, generators: Iterable[str]) -> None:
        """Takes note of what the workers have; without both generators nothing is rolled back."""
        both = {self.settings.primary, self.settings.generator}
        offered = bool(self.settings.generator) and both <= set(generators)
        if offered != self.breaker.offered:
            self.breaker.offered = offered
            self._follow()

    def job_rolled_back(self, job_id: str, planned: str, made_by: str, cause: str) -> None:
        """One job was made by another generator than planned."""
        self._metrics.rollback_job(cause)
        detail = {"job": job_id, "planned": planned, "made_by": made_by, "cause": cause}
        log.warning("job_rolled_back", **detail)
        self._journal.event(JOB_EVENT, detail)

    def rollback_gave_a_result(self) -> None:
        """A job that was planned for the rollback generator is done; the first is measured."""
        if self._first_result_due:
            self._first_result_due = False
            self._first_result_seconds = round(self.away_seconds, 3)
            self._metrics.rollback_first_result(self.away_seconds)

    def _changed(self, change: Change) -> None:
        detail = {**asdict(change), "lasted_seconds": round(change.lasted_seconds, 3)}
        log.warning("rollback_changed", **detail)
        self._changes.append({"at": self._wall_clock(), **detail})
        self._metrics.rollback_changed(change.state, change.cause)
        self._journal.event(EVENT, detail)
        self._journal.set_state(FACT, json.dumps(self.breaker.memory(self._wall_clock())))
        self._follow()

    def _follow(self) -> None:
        """Brings what is shown in line with the breaker."""
        breaker, now = self.breaker, self._clock()
        self._metrics.rollback_state(breaker.state, breaker.steps)
        self._metrics.generator_active(breaker.generator)
        if breaker.rolled_back and self._away_since is None:
            self._away_since, self._first_result_due = now, True
        elif not breaker.rolled_back and self._away_since is not None:
            self._metrics.rollback_lasted(now - self._away_since)
            self._away_since, self._first_result_due = None, False
        if breaker.generator != self._active:
            self._active = breaker.generator
            for changed in self._listeners:
                changed()

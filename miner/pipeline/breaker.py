"""The breaker: decides which generator each new job goes to, from how jobs have been going.

    closed ---(failures, or too slow)---> open ---(cool-down)---> half open
      ^                                    ^                         |
      |                                    +-----(probe failed)------+
      +------------------------------------------(probe worked)------+

Closed, jobs go to the primary; open, to the rollback generator; half open, one job probes the
primary and the others stay with the rollback generator. Pinned, by hand or by configuration, one
generator has all jobs whatever happens. Before it opens, smaller steps are taken where one fits the
cause; they are given up again one by one, each after a cool-down.

Pure: no I/O, nothing awaited, time from an injected clock. It decides about jobs that are still to
begin; what becomes of one job whose generator fails is the business of ``attempts.py``. Not for
several threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from miner.pipeline.breaker_window import LATENCY, Window
from miner.settings.rollback import RollbackSettings, Step

State = Literal["closed", "open", "half_open", "pinned"]
Target = Literal["primary", "rollback"]

EXCEPTION, OUT_OF_MEMORY, BAD_OUTPUT = "exception", "out_of_memory", "bad_output"
SELF_CHECK, WORKER_LOST = "self_check", "worker_lost"
FAILURES: Final = (EXCEPTION, OUT_OF_MEMORY, BAD_OUTPUT, SELF_CHECK, WORKER_LOST, LATENCY)
"""Why a generator is left: what went wrong with jobs."""

COOL_DOWN, RECOVERED, BY_HAND, BY_CONFIGURATION = "cool_down", "recovered", "hand", "configuration"
"""The other causes of a change: time for a probe, a probe that worked, and people."""

STATES: Final[tuple[State, ...]] = ("closed", "open", "half_open", "pinned")

FITTING: Final[Mapping[Step, frozenset[str]]] = {
    "fewer_steps": frozenset({LATENCY}),
    "more_steps": frozenset({SELF_CHECK}),
    "smaller_chunk": frozenset({OUT_OF_MEMORY}),
    "smaller_resolution": frozenset({OUT_OF_MEMORY, LATENCY}),
}
"""What each smaller step may be a remedy for."""


def fits(step: str, cause: str) -> bool:
    """Whether a smaller step may be a remedy for a cause."""
    return any(known == step and cause in causes for known, causes in FITTING.items())


@dataclass(frozen=True)
class Choice:
    """Where one job goes.

    Attributes:
        generator: by name.
        automatic: False while pinned: then no other may take the job over.
        probe: whether this job tries the primary while the service is rolled back.
        steps: smaller steps in force.
        number, epoch: tell the breaker what an outcome belongs to.
    """

    generator: str
    automatic: bool
    probe: bool
    steps: tuple[Step, ...]
    number: int
    epoch: int


@dataclass(frozen=True)
class Change:
    """One decision.

    Attributes:
        before, state: it was in, and is in now.
        generator: that new jobs go to now.
        cause: one of the constants above.
        steps: smaller steps in force now.
        lasted_seconds: how long it was as it was before.
    """

    before: State
    state: State
    generator: str
    cause: str
    steps: tuple[Step, ...]
    lasted_seconds: float


class Breaker:
    """The state machine.

    Args:
        settings: window, thresholds, cool-down, steps and pin.
        clock: monotonic seconds.
        on_change: told of each decision, inside the call that led to it.

    Attributes:
        offered: whether there is a rollback generator to go to; without one only steps are taken.
        state: see the head of this file.
        cause: of the last change.
        steps: smaller steps in force, in the order they were taken.
        changed_at: ``clock()`` of the last change of the state.
    """

    def __init__(
        self,
        settings: RollbackSettings,
        clock: Callable[[], float],
        on_change: Callable[[Change], None] = lambda _: None,
    ) -> None:
        self.offered = bool(settings.generator)
        self.state: State = "closed"
        self.cause = ""
        self.steps: tuple[Step, ...] = ()
        self.changed_at = clock()
        self._settings = settings
        self._clock = clock
        self._on_change = on_change
        self._target: Target = "primary"
        self._steps_at = self.changed_at
        self._left_for = ""
        self._failed_probes = 0
        self._probe: int | None = None
        self._number = self._epoch = 0
        self._window = Window()
        if settings.pin != "auto":
            self.state, self._target, self.cause = "pinned", settings.pin, BY_CONFIGURATION

    # How it is

    @property
    def generator(self) -> str:
        """Where new jobs go, probes aside."""
        return self._settings.generator if self.rolled_back else self._settings.primary

    @property
    def rolled_back(self) -> bool:
        """Whether new jobs, probes aside, go to the rollback generator."""
        away = self._target == "rollback" if self.state == "pinned" else self.state != "closed"
        return away and self.offered

    @property
    def cool_down_seconds(self) -> float:
        """From the last opening until a probe is due."""
        doubled = self._settings.cool_down_seconds * 2.0 ** min(self._failed_probes, 32)
        return min(doubled, self._settings.max_cool_down_seconds)

    # Jobs

    def choose(self) -> Choice:
        """Where the job that begins now goes; exactly one of the three below must follow."""
        now = self._clock()
        if self.state == "open" and now - self.changed_at >= self.cool_down_seconds:
            self._go("half_open", COOL_DOWN)
        elif self.steps and self.state == "closed" and self._steps_are_due(now):
            self._set_steps(self.steps[:-1], COOL_DOWN)
        self._number += 1
        probe = self.state == "half_open" and self._probe is None
        if probe:
            self._probe = self._number
        generator = self._settings.primary if probe else self.generator
        automatic = self.state != "pinned" and self.offered
        return Choice(generator, automatic, probe, self.steps, self._number, self._epoch)

    def succeeded(self, choice: Choice, seconds: float) -> None:
        """The chosen generator made the job's result, in so many seconds."""
        if self._end_of_probe(choice):
            slow = 0 < self._settings.latency_seconds < seconds
            if slow and self._left_for == LATENCY:
                self._reopen(LATENCY)
            else:
                self._close(RECOVERED)
        elif self._counts(choice):
            self._window.worked(self._clock(), seconds)
            self._judge()

    def failed(self, choice: Choice, cause: str) -> None:
        """The chosen generator failed at the job, or made it only by a step of the job's own."""
        if self._end_of_probe(choice):
            self._reopen(cause)
        elif self._counts(choice):
            self._window.failed(self._clock(), cause)
            self._judge()

    def nothing_learned(self, choice: Choice) -> None:
        """The job ended without saying anything of its generator: withdrawn, or a bad picture."""
        self._end_of_probe(choice)

    # People

    def pin(self, target: Target, by: str = BY_HAND) -> None:
        """Holds one of the two generators from now on."""
        if self.state == "pinned" and self._target == target:
            return
        self._target = target
        self._begin_anew()
        self._go("pinned", by)

    def release(self, by: str = BY_HAND) -> None:
        """Back to the primary, and to deciding by what happens."""
        if self.state != "closed" or self.steps:
            self._close(by)

    def reconfigure(self, settings: RollbackSettings) -> None:
        """New thresholds hold from now on; a pin that was changed takes the place of any other."""
        before, self._settings = self._settings.pin, settings
        if settings.pin == before:
            return
        if settings.pin == "auto":
            self.release(BY_CONFIGURATION)
        else:
            self.pin(settings.pin, BY_CONFIGURATION)

    # Memory over restarts

    def memory(self, wall_now: float) -> dict[str, Any]:
        """What the next life has to know, as JSON values; ``wall_now`` in unix seconds."""
        return {
            "state": self.state,
            "cause": self.cause,
            "left_for": self._left_for,
            "target": self._target,
            "pin": self._settings.pin,
            "steps": list(self.steps),
            "failed_probes": self._failed_probes,
            "at": wall_now - (self._clock() - self.changed_at),
        }

    def recall(self, memory: Mapping[str, Any], wall_now: float) -> None:
        """Goes on where an earlier life was, unless the configuration was given another pin since.

        What cannot be read is as if nothing were remembered. A clock that was set back makes the
        cool-down begin anew.
        """
        state, target = memory.get("state"), memory.get("target")
        if state not in STATES or target not in ("primary", "rollback"):
            return
        if memory.get("pin") != self._settings.pin:
            return
        self.state = "open" if state == "half_open" else state
        self._target = target
        self.cause = str(memory.get("cause", ""))
        self._left_for = str(memory.get("left_for", ""))
        known = memory.get("steps")
        allowed = known if isinstance(known, list) else []
        self.steps = tuple(step for step in self._settings.steps if step in allowed)
        self._failed_probes = max(0, int(_number(memory.get("failed_probes"))))
        self.changed_at = self._clock() - max(0.0, wall_now - _number(memory.get("at"), wall_now))
        self._steps_at = self._clock()

    # Inside

    def _counts(self, choice: Choice) -> bool:
        """Whether an outcome says something of the primary as it is used now."""
        current = choice.epoch == self._epoch and self.state == "closed"
        return current and choice.generator == self._settings.primary

    def _end_of_probe(self, choice: Choice) -> bool:
        if choice.number != self._probe:
            return False
        self._probe = None
        return True

    def _judge(self) -> None:
        cause = self._window.verdict(self._clock(), self._settings)
        if cause is not None:
            self._leave(cause)

    def _leave(self, cause: str) -> None:
        """Takes the next step that fits, or opens."""
        fitting = (
            step
            for step in self._settings.steps
            if cause in FITTING[step] and step not in self.steps
        )
        step = next(fitting, None)
        if step is not None:
            self._set_steps((*self.steps, step), cause)
        elif self.offered:
            self._left_for = cause
            self._failed_probes = 0
            self._go("open", cause)

    def _reopen(self, cause: str) -> None:
        self._failed_probes += 1
        self._left_for = cause
        self._go("open", cause)

    def _close(self, cause: str) -> None:
        self._begin_anew()
        self._target = "primary"
        self._go("closed", cause)

    def _begin_anew(self) -> None:
        self._failed_probes = 0
        self._probe = None
        self._left_for = ""
        self.steps = ()

    def _steps_are_due(self, now: float) -> bool:
        return now - self._steps_at >= self._settings.cool_down_seconds

    def _set_steps(self, steps: tuple[Step, ...], cause: str) -> None:
        self.steps, self._steps_at = steps, self._clock()
        self._go(self.state, cause)

    def _go(self, state: State, cause: str) -> None:
        """Changes and tells; outcomes of jobs chosen before say nothing any more."""
        now, before = self._clock(), self.state
        lasted, self.state, self.cause = now - self.changed_at, state, cause
        if state != before or state == "pinned":  # else only the steps are others
            self.changed_at = now
        self._epoch += 1
        self._window.clear()
        self._on_change(Change(before, state, self.generator, cause, self.steps, lasted))


def _number(value: object, otherwise: float = 0.0) -> float:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else otherwise  # type: ignore[arg-type]  # mypy cannot follow

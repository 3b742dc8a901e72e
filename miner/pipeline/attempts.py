"""One job and its generators: the planned one, smaller steps of its own, then the fallback.

Exactly one generator's result is returned. Whose turn it is for the next jobs is the business of
``breaker.py``. Imports no library of the models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from miner.errors import BadOutput, MinerError, OutOfMemory, StageError, WorkerLost
from miner.job import Plan
from miner.pipeline.breaker import BAD_OUTPUT, EXCEPTION, OUT_OF_MEMORY, WORKER_LOST, fits

Result = TypeVar("Result")

Make = Callable[[str, tuple[str, ...]], Result]
"""Has the generator of a name make the result, with these smaller steps in force."""

SHARED_STAGES = frozenset({"text_to_image", "background"})
"""Before any generator that looks at a picture: its failure there says nothing of it."""


@dataclass(frozen=True)
class Made(Generic[Result]):
    """What came of a job.

    Attributes:
        generator: whose the result is.
        cause: of a change of generator or of steps; empty where all went as planned.
        steps: smaller steps that were in force.
    """

    result: Result
    generator: str
    cause: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A turn of a job that failed after ``make`` had returned.

    Attributes:
        made: what ``make`` had returned of it.
        error: why.
    """

    made: Made[Any]
    error: StageError


def cause_of(error: MinerError) -> str:
    """The breaker's word for a failure; empty where no generator is to blame."""
    match error:
        case StageError() if error.stage in SHARED_STAGES:
            return ""
        case OutOfMemory():
            return OUT_OF_MEMORY
        case BadOutput():
            return BAD_OUTPUT
        case StageError():
            return EXCEPTION
        case WorkerLost():
            return WORKER_LOST
    return ""


def attempt(
    plan: Plan,
    make: Make[Result],
    left_seconds: Callable[[], float],
    can_take_over: Callable[[StageError], bool],
    on_failure: Callable[[str, StageError], None],
    failed: Failed | None = None,
) -> Made[Result]:
    """Makes the result of a job as its plan allows.

    Args:
        plan: with the names of the generators.
        make: may raise; its failures are held against the plan.
        left_seconds: of the job's time; infinite where it has no limit.
        can_take_over: whether the fallback could do without what failed.
        on_failure: told of each failure that is not the end.
        failed: the turn to go on from, as if its ``make`` had raised that; None begins the job.

    Raises:
        StageError: the last failure, when nothing is left to try.
        JobCancelled, RequestError: as ``make``; never a reason to try again.
    """
    generator, steps, cause = plan.generator, plan.steps, ""
    if failed is not None:
        generator, steps, cause = failed.made.generator, failed.made.steps, failed.made.cause
    while True:
        failure, turn = None, generator
        try:
            if failed is not None:
                raise failed.error
            return Made(make(generator, steps), generator, cause, steps)
        except StageError as error:
            following = _next_step(error, plan, generator, steps)
            takes_over = not following and _may_fall_back(plan, generator, left_seconds())
            if not following and not (takes_over and can_take_over(error)):
                raise
            cause = cause or cause_of(error) or EXCEPTION
            failure, failed = error, None
        if following:
            steps = following
        else:
            generator, steps = plan.fallback, ()
        on_failure(turn, failure)
        del failure  # and with it what its frames still hold of the device's memory


def _next_step(
    error: StageError, plan: Plan, generator: str, steps: Sequence[str]
) -> tuple[str, ...]:
    """The steps with one more, where memory ran out and one is left for it; else none."""
    if not isinstance(error, OutOfMemory) or generator != plan.generator:
        return ()
    if error.stage in SHARED_STAGES:
        return ()
    for step in plan.spare_steps:
        if step not in steps and fits(step, OUT_OF_MEMORY):
            return (*steps, step)
    return ()


def _may_fall_back(plan: Plan, generator: str, left_seconds: float) -> bool:
    first_turn = generator == plan.generator
    return bool(plan.fallback) and first_turn and left_seconds >= plan.least_seconds

"""Who does a job: the least loaded worker that holds the generator its plan names.

Where that generator fails and its worker does not hold the plan's fallback, the job is begun once
more by a worker that does: what ``pipeline/attempts.py`` is inside one worker, this is over all of
them. Which generator a plan names is others' business. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from miner.errors import DeadlineExceeded, Draining, JobCancelled, StageError
from miner.executor import OnProgress
from miner.job import Asset, Job, Plan
from miner.pipeline.attempts import cause_of
from miner.workers.life import Tools
from miner.workers.roster import ANY, Roster
from miner.workers.supervisor import Supervisor

log = logging.getLogger(__name__)


class Dispatch:
    """Gives jobs to the workers that tell of themselves through ``tools.changes``.

    Args:
        tools: the workers'.
        done: told of every job that went well: who did it, and in how many seconds.

    Attributes:
        roster: of the workers.
    """

    def __init__(self, tools: Tools, done: Callable[[Supervisor, Asset, float], None]) -> None:
        self.roster: Roster[Supervisor] = Roster()
        self._tools = tools
        self._done = done
        self._closed = False
        self._at: dict[str, Supervisor | None] = {}  # by job; None while it waits for a worker
        tools.changes.follow(self._note)

    def _note(self, who: object) -> None:
        if isinstance(who, Supervisor):
            self.roster.look(who)

    def close(self) -> None:
        """Begins nothing new from now on."""
        self._closed = True
        self._tools.changes.announce()

    def capacity(self, generator: str) -> int:
        """How many more jobs for a generator could begin at once."""
        return 0 if self._closed else self.roster.capacity(generator)

    async def submit(self, job: Job, on_progress: OnProgress | None) -> Asset:
        """As ``Pool.submit``."""
        plan = replace(job.plan, free_seconds=job.free_seconds)
        worker, plan = await self._free_worker(job, plan)
        held, began = worker.holds or (), self._tools.clock()
        try:
            return await self._do(worker, job, _within(plan, held), on_progress)
        except StageError as error:
            plan, cause = _later(plan, self._tools.clock() - began), cause_of(error)
            if not cause or plan.fallback in held or not self._can_fall_back(plan):
                raise
            log.warning("worker %s: %s; once more, by %s", worker.name, error, plan.fallback)
        plan = Plan(plan.fallback, seconds=plan.seconds, free_seconds=0.0)
        worker, plan = await self._free_worker(job, plan)
        asset = await self._do(worker, job, _within(plan, worker.holds or ()), on_progress)
        return replace(asset, cause=asset.cause or cause)

    def cancel(self, job_id: str) -> None:
        """As ``Pool.cancel``."""
        if job_id not in self._at:
            return
        if (worker := self._at[job_id]) is not None:
            worker.cancel(job_id)
        else:
            del self._at[job_id]
            self._tools.changes.announce()

    async def _free_worker(self, job: Job, plan: Plan) -> tuple[Supervisor, Plan]:
        """Who could begin the job, once there is one, and the plan with the time left then."""

        def waits_no_more() -> bool:
            withdrawn = job.id not in self._at
            return withdrawn or self._closed or self.roster.capacity(plan.generator) > 0

        began, self._at[job.id] = self._tools.clock(), None
        try:
            if not waits_no_more():
                async with asyncio.timeout(plan.seconds):
                    await self._tools.changes.until(waits_no_more)
            if job.id not in self._at:
                raise JobCancelled("cancelled while it waited for a worker")
        except TimeoutError as error:
            raise DeadlineExceeded("no worker that could do it was free in time") from error
        finally:
            self._at.pop(job.id, None)
        if self._closed:
            raise Draining("the workers take nothing new")
        return (
            self.roster.least_loaded(plan.generator),
            _later(plan, self._tools.clock() - began),
        )

    async def _do(
        self, worker: Supervisor, job: Job, plan: Plan, on_progress: OnProgress | None
    ) -> Asset:
        began, self._at[job.id] = self._tools.clock(), worker
        try:
            asset = await worker.submit(replace(job, plan=plan), on_progress)
        finally:
            self._at.pop(job.id, None)
        self._done(worker, asset, self._tools.clock() - began)
        return asset

    def _can_fall_back(self, plan: Plan) -> bool:
        """Whether a worker holds the plan's fallback, and there is the time that it needs."""
        in_time = plan.seconds is None or plan.seconds >= plan.least_seconds
        return plan.fallback in self.roster.generators and in_time and not self._closed


def _later(plan: Plan, seconds: float) -> Plan:
    """The plan with so many of its seconds gone."""
    return plan if plan.seconds is None else replace(plan, seconds=max(0.0, plan.seconds - seconds))


def _within(plan: Plan, held: Sequence[str]) -> Plan:
    """The plan without the names that a worker does not hold."""
    return replace(
        plan,
        generator=plan.generator if plan.generator in held else ANY,
        fallback=plan.fallback if plan.fallback in held else "",
    )

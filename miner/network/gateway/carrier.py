"""Sees each task that is ours through to its end: its outcome, and the gateway's word on it.

One asyncio task for each. What is brought is brought until the gateway has it, does not want it, or
nobody waits any more; a stop in between leaves it to the daemon's next life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from miner.errors import (
    DeadlineExceeded,
    Draining,
    GatewayError,
    GatewayRefused,
    JobCancelled,
    JournalUnavailable,
)
from miner.job import Asset, Failure, Outcome
from miner.journal import Record
from miner.network.gateway.assignments import Assignments
from miner.network.gateway.contracts import Client, Instruments, Journal, Ticket
from miner.network.gateway.messages import Assignment
from miner.network.gateway.pace import Backoff, Budget, Clocks

RETRY_SECONDS: Final = 2.0
"""Before the second attempt to bring a result, or to read one from a failing disk."""

LOST = Failure.of(JobCancelled("the worker was restarted before it had written the task down"))
EXPIRED = Failure.of(DeadlineExceeded("it was not done while anybody waited"))
FORGOTTEN = Failure.of(JobCancelled("the result is not kept any more"))

log = structlog.get_logger(__name__)


class Carrier:
    """Brings results.

    Args:
        client: calls the gateways.
        journal: knows what became of jobs.
        metrics: told what happens.
        open_tasks: those that are ours; a task leaves them when it is over.
        budget: of calls.
        clocks: what time it is.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        metrics: Instruments,
        open_tasks: Assignments,
        budget: Budget,
        clocks: Clocks,
    ) -> None:
        self._client = client
        self._journal = journal
        self._metrics = metrics
        self._open = open_tasks
        self._budget = budget
        self._clocks = clocks
        self._carried: set[asyncio.Task[None]] = set()

    def carry(
        self, group: asyncio.TaskGroup, assignment: Assignment, ticket: Ticket | None
    ) -> None:
        """Sees a task through that has a job; without a ticket the journal has its outcome."""
        self._start(group, assignment, self._see_through(assignment, ticket))

    def give_back(self, group: asyncio.TaskGroup, assignment: Assignment, failure: Failure) -> None:
        """Tells the gateway that a task cannot be done here."""
        self._start(group, assignment, self._deliver(assignment, failure))

    async def settle(self, limit_seconds: float) -> None:
        """Returns when every task is over or left for later, or the limit is over."""
        if self._carried:
            await asyncio.wait(self._carried, timeout=limit_seconds)

    async def record(self, assignment: Assignment) -> Record | None:
        """The record of a task's job, as soon as the disk can be read."""
        while True:
            try:
                return await self._journal.find_task(assignment.journal_id)
            except JournalUnavailable as error:
                log.warning("gateway_task_unreadable", task=assignment.task_id, reason=str(error))
                await self._clocks.sleep(RETRY_SECONDS)

    def _start(
        self,
        group: asyncio.TaskGroup,
        assignment: Assignment,
        work: Coroutine[Any, Any, None],
    ) -> None:
        carried = group.create_task(work, name=f"gateway task {assignment.task_id}")
        self._carried.add(carried)
        carried.add_done_callback(self._carried.discard)

    async def _see_through(self, assignment: Assignment, ticket: Ticket | None) -> None:
        outcome = await (self._recorded(assignment) if ticket is None else ticket.outcome())
        if ticket is None or not _left_for_later(outcome):
            await self._deliver(assignment, outcome)

    async def _recorded(self, assignment: Assignment) -> Outcome:
        """What the journal says became of a job that the queue does not have.

        An outcome may still be on its way to the disk: it is waited for while it is wanted.
        """
        while self._newest(assignment).expires_at > self._clocks.wall():
            record = await self.record(assignment)
            if record is None:
                return LOST
            if record.state == "done":
                return await self._kept(record)
            if record.state == "failed":
                message = record.message or "it failed"
                return Failure(record.code or "job", record.status or 500, message)
            await self._clocks.sleep(RETRY_SECONDS)
        return EXPIRED

    async def _kept(self, record: Record) -> Outcome:
        while True:
            try:
                return await self._journal.asset(record.id) or FORGOTTEN
            except JournalUnavailable as error:
                log.warning("gateway_result_unreadable", job=record.id, reason=str(error))
                await self._clocks.sleep(RETRY_SECONDS)

    async def _deliver(self, assignment: Assignment, outcome: Outcome) -> None:
        """Brings it until the gateway has it or does not want it, or nobody waits any more."""
        backoff, said = Backoff(RETRY_SECONDS), "expired"
        while (left := self._newest(assignment).expires_at - self._clocks.wall()) > 0:
            if (wait := self._budget.take()) > 0:
                await self._clocks.sleep(wait)
                continue
            try:
                await self._client.add_result(self._newest(assignment), outcome)
                said = "success" if isinstance(outcome, Asset) else "failure"
                break
            except GatewayRefused as error:
                said = error.code
                log.warning("gateway_result_refused", task=assignment.task_id, reason=str(error))
                break
            except GatewayError as error:
                self._metrics.gateway_call("add_result", error.code)
                await self._clocks.sleep(min(backoff.after(error), left))
        self._close(assignment, outcome, said)

    def _newest(self, assignment: Assignment) -> Assignment:
        """A task may be given to us again, with another token: the last one holds."""
        return self._open.get(assignment.task_id) or assignment

    def _close(self, assignment: Assignment, outcome: Outcome, said: str) -> None:
        self._metrics.gateway_call("add_result", said)
        self._open.remove(assignment)
        self._journal.deliver(assignment.job_id)
        detail = {"task": assignment.task_id, "url": assignment.url, "result": said}
        if isinstance(outcome, Failure):
            detail["code"] = outcome.code
        self._journal.event("gateway_result", detail)
        log.info("gateway_result", **detail)


def _left_for_later(outcome: Outcome) -> bool:
    """Whether the daemon stops, and its next life does the job."""
    return isinstance(outcome, Failure) and outcome.code == Draining.code

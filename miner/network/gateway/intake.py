"""The intake that asks the subnet's gateways for work, and brings them what became of it.

Each gateway has a loop of its own. Only what can begin soon is asked for: workers that are free,
and a few tasks ahead. A task is in the journal before anything is done for it, and its result is
brought until the gateway has it, does not want it, or nobody waits any more; a restart in between
changes nothing. What cannot be done is said at once, with its reason, so that another worker gets
the task. One event loop, one ``run``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from miner.errors import GatewayError, GatewayRefused, KnownTask, MinerError
from miner.job import Failure, Job, new_job_id
from miner.logs import bound_job
from miner.network.gateway.assignments import Assignments
from miner.network.gateway.carrier import Carrier
from miner.network.gateway.contracts import Client, Executor, Instruments, Journal, Queue, Ticket
from miner.network.gateway.messages import Assignment, GatewayTask, Offer, read_spec
from miner.network.gateway.pace import CLOCKS, Backoff, Budget, Clocks
from miner.settings.gateway import GatewaySettings

INTAKE: Final = "gateway"
BUSY_SECONDS: Final = 1.0
"""Where there was work there is more: so long after an offer the gateway is asked again."""

log = structlog.get_logger(__name__)


@dataclass
class Standing:
    """How it is with one gateway.

    Attributes:
        tasks: that it gave us since the start.
        failures: calls in a row that came to nothing.
        last_error: of the last of those; empty while it answers.
        answered_at: monotonic seconds; None before its first answer.
    """

    tasks: int = 0
    failures: int = 0
    last_error: str = ""
    answered_at: float | None = None


class GatewayIntake:
    """Work from gateways.

    Args:
        client: calls them; entered and left by ``run``.
        queue: takes the jobs.
        journal: knows what became of them, and keeps what we owe.
        executor: says how much could begin at once.
        metrics: told what happens.
        settings: which gateways, and how often.
        clocks: what time it is.
    """

    def __init__(
        self,
        client: Client,
        queue: Queue,
        journal: Journal,
        executor: Executor,
        metrics: Instruments,
        settings: GatewaySettings,
        clocks: Clocks = CLOCKS,
    ) -> None:
        self._client = client
        self._queue = queue
        self._executor = executor
        self._metrics = metrics
        self._settings = settings
        self._clocks = clocks
        self._budget = Budget(settings.calls_per_minute, clocks.monotonic)
        self._open = Assignments(journal)
        self._carrier = Carrier(client, journal, metrics, self._open, self._budget, clocks)
        self._standings = {url: Standing() for url in settings.urls}
        self._asked_for = 0
        """Tasks that questions on their way may bring."""

    async def run(self) -> None:
        """Asks, and brings results, until cancelled. To be started after the queue's ``resume``.

        Raises:
            JournalUnavailable: what we owe cannot be read.
        """
        await self._open.load()
        async with self._client, asyncio.TaskGroup() as group:
            for assignment in self._open:
                self._carrier.carry(group, assignment, self._queue.attach(assignment.job_id))
            for url in self._settings.urls:
                group.create_task(self._ask_again_and_again(group, url), name=f"ask {url}")

    async def settle(self, limit_seconds: float) -> None:
        """Returns when the results that exist are brought, or the limit is over.

        For a daemon that stops: to be called when the queue is drained.
        """
        await self._carrier.settle(limit_seconds)

    @property
    def owed(self) -> int:
        """Tasks that are ours and not over."""
        return len(self._open)

    def lines(self) -> Sequence[Mapping[str, Any]]:
        """How it is with each gateway, for the status page."""
        now = self._clocks.monotonic()
        owed = [assignment.url for assignment in self._open]
        return [
            {
                "gateway": url,
                "tasks": standing.tasks,
                "owed": owed.count(url),
                "failures": standing.failures,
                "last_error": standing.last_error,
                "answer_age_seconds": (
                    None if standing.answered_at is None else round(now - standing.answered_at, 1)
                ),
            }
            for url, standing in self._standings.items()
        ]

    # Asking

    async def _ask_again_and_again(self, group: asyncio.TaskGroup, url: str) -> None:
        backoff = Backoff(self._settings.poll_seconds)
        while True:
            room = self._room()
            if room <= 0:
                await self._clocks.sleep(min(BUSY_SECONDS, self._settings.poll_seconds))
                continue
            if (wait := self._budget.take()) > 0:
                await self._clocks.sleep(wait)
                continue
            try:
                offer = await self._ask(url, room, group)
            except GatewayError as error:
                wait = backoff.after(error)
                standing = self._standings[url]
                standing.failures, standing.last_error = backoff.failures, str(error)
                self._tell_trouble(url, error, backoff.failures, wait)
                await self._clocks.sleep(wait)
                continue
            if backoff.failures:
                log.info("gateway_answers_again", url=url, failures=backoff.failures)
            backoff.forget()
            self._answered(url, offer)
            pause = self._settings.poll_seconds
            await self._clocks.sleep(min(BUSY_SECONDS, pause) if offer.tasks else pause)

    def _answered(self, url: str, offer: Offer) -> None:
        standing = self._standings[url]
        standing.tasks += len(offer.tasks)
        standing.failures, standing.last_error = 0, ""
        standing.answered_at = self._clocks.monotonic()

    def _room(self) -> int:
        """How many tasks could begin soon, less those that are being asked for."""
        state = self._queue.snapshot()
        if not state.accepting or not self._executor.health().ready:
            return 0
        free = self._executor.capacity - state.depth + self._settings.ahead
        return free - self._asked_for

    async def _ask(self, url: str, count: int, group: asyncio.TaskGroup) -> Offer:
        self._asked_for += count
        try:
            offer = await self._client.get_tasks(url, count)
            self._metrics.gateway_call("get_tasks", "tasks" if offer.tasks else "nothing")
            if offer.unreadable:
                log.warning("gateway_tasks_unreadable", url=url, count=offer.unreadable)
            # All are on record before the first is begun: what a crash takes is given back then.
            ours = [(self._assign(url, task), task) for task in offer.tasks]
            for assignment, task in ours:
                if assignment is not None:
                    await self._take(group, assignment, task)
            return offer
        except GatewayError as error:
            self._metrics.gateway_call("get_tasks", error.code)
            raise
        finally:
            self._asked_for -= count

    def _tell_trouble(self, url: str, error: GatewayError, failures: int, wait: float) -> None:
        """Once for each spell of trouble, and where it comes to nothing to wait for."""
        refused = isinstance(error, GatewayRefused)
        if failures == 1 or refused:
            say = log.error if refused else log.warning
            say("gateway_trouble", url=url, reason=str(error), next_seconds=round(wait, 1))

    # Taking a task on

    def _assign(self, url: str, task: GatewayTask) -> Assignment | None:
        """Notes that a task is ours; None where it was before, and is being seen through."""
        known = self._open.get(str(task.id))
        assignment = Assignment(
            task_id=str(task.id),
            token=str(task.assignment_token),
            url=url,
            job_id=known.job_id if known else new_job_id(),
            expires_at=self._clocks.wall() + self._settings.task_seconds,
        )
        self._open.add(assignment)
        return None if known else assignment

    async def _take(
        self, group: asyncio.TaskGroup, assignment: Assignment, task: GatewayTask
    ) -> None:
        """It becomes a job, or is given back with a reason."""
        with bound_job(assignment.job_id):
            try:
                ticket = await self._submit(assignment, task)
                self._carrier.carry(group, assignment, ticket)
            except KnownTask:
                await self._carry_known(group, assignment)
            except MinerError as error:
                log.info("gateway_task_given_back", task=assignment.task_id, reason=str(error))
                self._carrier.give_back(group, assignment, Failure.of(error))

    async def _submit(self, assignment: Assignment, task: GatewayTask) -> Ticket:
        spec = await read_spec(task, self._settings.model, self._settings.format)
        job = Job(
            id=assignment.job_id,
            spec=spec,
            requester=f"gateway:{urlsplit(assignment.url).hostname}",
            intake=INTAKE,
            deadline=self._clocks.monotonic() + self._settings.task_seconds,
            promised=True,
            task_id=assignment.journal_id,
        )
        return await self._queue.submit(job)

    async def _carry_known(self, group: asyncio.TaskGroup, assignment: Assignment) -> None:
        """A task that we had before: what became of it, or becomes of it, answers this one too."""
        record = await self._carrier.record(assignment)
        if record is not None:
            assignment = replace(assignment, job_id=record.id)
            self._open.add(assignment)
        self._carrier.carry(group, assignment, self._queue.attach(assignment.job_id))

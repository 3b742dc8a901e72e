"""The gateways' intake with everything around it by hand: a gateway, a journal, time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self
from uuid import UUID

from miner.errors import GatewayRefused, GatewayUnavailable, JournalUnavailable
from miner.job import Asset, Failure, Outcome
from miner.job_queue import JobQueue
from miner.journal import Record
from miner.network.gateway.intake import GatewayIntake
from miner.network.gateway.messages import Assignment, GatewayTask, Offer
from miner.network.gateway.pace import Clocks
from miner.settings.daemon import QueueSettings
from miner.settings.gateway import GatewaySettings
from tests.job_queue.fakes import Counters, HandExecutor, MemoryJournal

URL = "https://one.example:4443"
OTHER_URL = "https://two.example:4443"
TURNS = 40
"""Of the event loop, after which nothing moves that does not wait for time or for the test."""


class HandTime:
    """Time that passes when the test says so, and wakes sleepers in their order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.skew = 1e9
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now, self.wall, self.sleep)

    def wall(self) -> float:
        return self.now + self.skew

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._order), woken))
        await woken

    async def pass_(self, seconds: float) -> None:
        """Lets so much time go by, with everything that happens in it."""
        end = self.now + seconds
        await turns()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            if not woken.done():
                woken.set_result(None)
            await turns()
        self.now = end


class KeepingJournal(MemoryJournal):
    """Remembers facts as well. What was only posted is on disk with the next thing awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, str] = {}
        self.posted: dict[str, str] = {}
        self.delivered: Counter[str] = Counter()
        self.unreadable = False
        self.forgotten: set[str] = set()

    async def _disk(self) -> None:
        await super()._disk()
        self.facts.update(self.posted)
        self.posted.clear()

    async def state(self, key: str) -> str | None:
        return self.posted.get(key, self.facts.get(key))

    def set_state(self, key: str, value: str) -> None:
        self.posted[key] = value

    def deliver(self, job_id: str) -> None:
        self.delivered[job_id] += 1

    async def asset(self, job_id: str) -> Asset | None:
        outcome = self.outcomes[job_id][0]
        assert isinstance(outcome, Asset)
        return None if job_id in self.forgotten else outcome

    async def find_task(self, task_id: str) -> Record | None:
        if self.unreadable:
            raise JournalUnavailable("the disk is on fire")
        for job, deadline_at in self.jobs.values():
            if job.task_id == task_id:
                return self._record(job.id, deadline_at)
        return None

    def _record(self, job_id: str, deadline_at: float) -> Record:
        job = self.jobs[job_id][0]
        outcome = self.outcomes.get(job_id, [None])[0]
        failed = isinstance(outcome, Failure)
        state = "queued" if outcome is None else "failed" if failed else "done"
        values: dict[str, Any] = dict.fromkeys(Record.__dataclass_fields__)
        values |= {
            "id": job.id,
            "task_id": job.task_id,
            "state": state,
            "deadline_at": deadline_at,
        }
        if isinstance(outcome, Failure):
            values |= {
                "code": outcome.code,
                "message": outcome.message,
                "status": outcome.status,
            }
        return Record(**values)


class HandGateway:
    """Gateways that share their tasks; implements ``Client``.

    Attributes:
        waiting: tasks to hand out.
        asked: how many were asked for, call by call, with the gateway.
        given: tokens of what was handed out, by task id.
        told: what workers believe to have been given: the answer reached them.
        results: what was brought, by task id; the first counts.
        trouble: what the next calls of a kind meet: "busy" or "refused" changes nothing, "lost" is
            done and the answer is lost, "gone" forgets the task.
    """

    def __init__(self) -> None:
        self.waiting: list[Mapping[str, Any]] = []
        self.asked: list[tuple[str, int]] = []
        self.given: dict[str, str] = {}
        self.told: set[str] = set()
        self.results: dict[str, list[Outcome]] = {}
        self.trouble: dict[str, list[str]] = {"get_tasks": [], "add_result": []}
        self.open = False
        self.brought = 0
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False

    def offer(self, **content: Any) -> str:
        """A new task that waits; its id."""
        task_id = str(UUID(int=next(self._numbers)))
        self.waiting.append({"id": task_id, "prompt": f"chair {task_id}", "seed": 7, **content})
        return task_id

    async def get_tasks(self, url: str, count: int) -> Offer:
        assert self.open and count >= 1
        self.asked.append((url, count))
        trouble = self._meet("get_tasks")
        now, self.waiting = self.waiting[:count], self.waiting[count:]
        tasks = []
        for content in now:
            token = str(UUID(int=next(self._numbers)))
            self.given[content["id"]] = token
            tasks.append(GatewayTask(**content, assignment_token=token))
        if trouble == "lost":
            raise GatewayUnavailable("the answer is lost")
        self.told.update(str(task.id) for task in tasks)
        return Offer(tuple(tasks))

    async def add_result(self, assignment: Assignment, outcome: Outcome) -> None:
        assert self.open
        self.brought += 1
        trouble = self._meet("add_result")
        assert self.given[assignment.task_id] == assignment.token, "a wrong token"
        self.results.setdefault(assignment.task_id, []).append(outcome)
        if trouble == "lost":
            raise GatewayUnavailable("the answer is lost")

    def _meet(self, call: str) -> str | None:
        trouble = self.trouble[call].pop(0) if self.trouble[call] else None
        if trouble == "busy":
            raise GatewayUnavailable("busy", retry_seconds=3.0)
        if trouble in ("refused", "gone"):
            raise GatewayRefused("no")
        return trouble


class Calls:
    """Counts calls of gateways."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()

    def gateway_call(self, call: str, outcome: str) -> None:
        self.seen[call, outcome] += 1


class Life:
    """One life of the daemon's part that matters here; to be used with ``async with``.

    Args:
        gateway, journal, time: outlive it.
    """

    def __init__(
        self,
        gateway: HandGateway,
        journal: KeepingJournal,
        time: HandTime,
        workers: int = 1,
        **settings: Any,
    ) -> None:
        self.gateway, self.journal, self.time = gateway, journal, time
        self.executor = HandExecutor(workers)
        self.calls = Calls()
        self.queue = JobQueue(
            self.executor,
            journal,
            QueueSettings(),
            Counters(),
            time.clocks.monotonic,
            time.wall,
        )
        self.settings = GatewaySettings(**({"urls": (URL,)} | settings))
        self.intake = GatewayIntake(
            gateway, self.queue, journal, self.executor, self.calls, self.settings, time.clocks
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Life:
        await self.queue.resume()
        self._tasks = [
            asyncio.create_task(self.queue.run()),
            asyncio.create_task(self.intake.run()),
        ]
        await turns()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        """Cancels everything, as a kill does; what ended by itself fails the test."""
        for task in self._tasks:
            assert not task.done(), task.exception()
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.journal.posted.clear()

    async def finish_all(self) -> None:
        """Has the workers end all they are at, again and again, until there is nothing to do."""
        while self.executor.running:
            for job_id in tuple(self.executor.running):
                self.executor.succeed(job_id, job_id.encode())
            await turns()


async def turns(count: int = TURNS) -> None:
    """Lets everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)

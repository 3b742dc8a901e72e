"""One scenario through the program's own queue, dispatcher, pool and supervisors."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from miner.errors import CapacityError
from miner.job import Asset, Job, JobSpec, Outcome, new_job_id
from miner.job_queue import JobQueue
from miner.metrics import Metrics
from miner.settings import load_settings
from miner.settings.daemon import QueueSettings
from tests.benchmarks.fleet.cards import Cards
from tests.benchmarks.fleet.record import Offered, Record, Sample
from tests.benchmarks.fleet.scenarios import Kind, Loss, Scenario
from tests.job_queue.fakes import MemoryJournal

SEED = 17
QUEUE = QueueSettings(max_depth=5000)
SAMPLE_SECONDS = 15.0


class Journal(MemoryJournal):
    """In memory, with the little that accepting has to know, and when each job first began."""

    def __init__(self) -> None:
        super().__init__()
        self.begun_at: dict[str, float] = {}
        self.retried = 0

    async def accept(self, job: Job, deadline_at: float) -> None:
        self.jobs[job.id] = job, deadline_at
        self.attempts[job.id] = job.attempts

    def begin(self, job_id: str, attempts: int) -> None:
        self.begun_at.setdefault(job_id, asyncio.get_running_loop().time())
        super().begin(job_id, attempts)

    async def finish(self, job_id: str, outcome: Outcome) -> None:
        self.jobs.pop(job_id, None)

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        self.retried += kind == "worker_lost" and detail["again"]


class Fleet:
    """Warm cards behind a running queue; made by ``fleet``."""

    def __init__(self, scenario: Scenario, cards: Cards, metrics: Metrics) -> None:
        self.scenario = scenario
        self.cards = cards
        self.metrics = metrics
        self.journal = Journal()
        self.record = Record(scenario)
        clock = asyncio.get_running_loop().time
        self.queue = JobQueue(cards, self.journal, QUEUE, metrics, clock, lambda: 1e9 + clock())
        self._clock = clock
        self._began = clock()

    @property
    def now(self) -> float:
        """Since the first job could come."""
        return self._clock() - self._began

    async def offer(self, number: int, kind: Kind) -> None:
        """One job, until it has its outcome."""
        at, spec = self.now, JobSpec(prompt=f"thing {number}")
        deadline = self._clock() + self.scenario.timeout
        job = Job(new_job_id(), spec, kind.name, "api", deadline, priority=kind.priority)
        try:
            ticket = await self.queue.submit(job)
        except CapacityError as error:
            self.record.jobs.append(Offered(kind.name, at, self.now, None, error.code))
            return
        outcome = await ticket.outcome()
        code = "ok" if isinstance(outcome, Asset) else outcome.code
        begun = self.journal.begun_at.pop(job.id, None)
        waited = None if begun is None else begun - self._began - at
        self.record.jobs.append(Offered(kind.name, at, self.now, waited, code))

    async def suffer(self, loss: Loss) -> None:
        """The loss, when it is time, and its end."""
        await asyncio.sleep(loss.at)
        lost, self.record.hit = self.cards.lose(loss.share)
        if loss.back_after is not None:
            await asyncio.sleep(loss.back_after)
            for card in lost:
                card.come_back()

    async def watch(self) -> None:
        """Looks at the cards again and again, until cancelled."""
        while True:
            states = [worker.state for worker in self.cards.health().workers]
            busy = states.count("busy")
            self.record.samples.append(Sample(self.now, states.count("ready") + busy, busy))
            await asyncio.sleep(SAMPLE_SECONDS)


@contextlib.asynccontextmanager
async def fleet(scenario: Scenario, chance: random.Random) -> AsyncIterator[Fleet]:
    """A fleet that is warm and takes jobs; nothing of it is left afterwards."""
    metrics = Metrics()
    settings = load_settings("mini", {"device": "cpu"}, environ={})
    async with Cards(scenario, settings, metrics, chance) as cards:
        await cards.all_ready()
        made = Fleet(scenario, cards, metrics)
        running = asyncio.create_task(made.queue.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.wait({running})


async def simulate(scenario: Scenario) -> Record:
    """All jobs of a scenario, until each has its outcome."""
    chance = random.Random(SEED)
    async with fleet(scenario, chance) as made:
        beside = [asyncio.create_task(made.watch())]
        if scenario.loss is not None:
            beside.append(asyncio.create_task(made.suffer(scenario.loss)))
        async with asyncio.TaskGroup() as group:
            for number, (pause, kind) in enumerate(arrivals(scenario, chance)):
                await asyncio.sleep(pause)
                group.create_task(made.offer(number, kind))
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    made.record.retried = made.journal.retried
    return made.record


def arrivals(scenario: Scenario, chance: random.Random) -> Iterator[tuple[float, Kind]]:
    """Seconds between one job and the next, as of a Poisson process, and whose it is."""
    shares = [kind.share for kind in scenario.kinds]
    for _ in range(scenario.jobs):
        pause = chance.expovariate(scenario.jobs / scenario.during)
        yield pause, chance.choices(scenario.kinds, shares)[0]

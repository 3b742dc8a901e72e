"""A fleet, simulated: 1,000 GPUs and 10,000 jobs an hour through the real queue and dispatcher.

    python -m tests.benchmarks.bench_fleet

Nothing here is measured on a GPU. The queue, its order, deadlines, retries and admission are the
program's own; the clock is simulated (the event loop jumps to its next timer), jobs arrive as a
Poisson process with a fixed seed, and a card takes 0.8 to 1.2 times the mean for a job. Half the
jobs are of a high priority. In the middle of some runs a tenth of the cards is lost for good, with
the jobs on them. Results go to standard output as a table, and to ``out/bench_fleet.csv``.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import selectors
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from miner.errors import CapacityError, WorkerLost
from miner.executor import ExecutorHealth, OnProgress, WorkerHealth
from miner.job import Asset, Job, JobSpec, Outcome, new_job_id
from miner.job_queue import JobQueue
from miner.metrics import Metrics
from miner.settings.daemon import QueueSettings
from tests.job_queue.fakes import MemoryJournal

OUT = Path(__file__).parents[2] / "out" / "bench_fleet.csv"
HOUR = 3600.0
HIGH, LOW = 10_000.0, 1_000.0
"""Priorities: the stakes of two validators."""


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        seconds: mean of a job.
        per_hour: jobs offered.
        timeout: that callers give their jobs.
        lost: share of the cards that is gone from half time on.
    """

    title: str
    seconds: float
    per_hour: int = 10_000
    timeout: float = 600.0
    lost: float = 0.0
    gpus: int = 1000


SCENARIOS = (
    Scenario("30 s a job, calm", 30.0),
    Scenario("30 s a job, a tenth lost", 30.0, lost=0.1),
    Scenario("324 s a job, 90% busy", 324.0),
    Scenario("324 s a job, a tenth lost", 324.0, lost=0.1),
    Scenario("396 s a job, 110% busy", 396.0),
)


class Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for nothing: where there is nothing to do until a timer, the time is that timer's."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found and timeout is not None:
            self.now += max(0.0, timeout)
        return found


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is simulated."""

    def __init__(self) -> None:
        self.simulated = Selector()
        super().__init__(self.simulated)

    def time(self) -> float:
        return self.simulated.now


class Fleet:
    """An executor of cards that take simulated time; the least used one goes first."""

    service_seconds_hint: float | None = None

    def __init__(self, scenario: Scenario, chance: random.Random) -> None:
        self.service_seconds_hint = scenario.seconds
        self._scenario = scenario
        self._chance = chance
        self._free = [(0, card) for card in range(scenario.gpus)]
        self._busy: dict[int, asyncio.Future[None]] = {}
        self._dead: set[int] = set()
        self._changed: list[Callable[[], None]] = []
        self._health = self._look()

    @property
    def capacity(self) -> int:
        return len(self._free)

    @property
    def slots(self) -> int:
        return self._scenario.gpus - len(self._dead)

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        done, card = heapq.heappop(self._free)
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        self._busy[card] = over
        takes = self._scenario.seconds * self._chance.uniform(0.8, 1.2)
        timer = loop.call_later(takes, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()
            del self._busy[card]
            if card not in self._dead:
                heapq.heappush(self._free, (done + 1, card))
            self._announce()
        return Asset(job.id.encode(), "spz", 1, "simulated", {})

    def lose(self, share: float) -> int:
        """Cards go for good, with what they are at; how many jobs that were."""
        cards = self._chance.sample(range(self._scenario.gpus), int(share * self._scenario.gpus))
        self._dead |= set(cards)
        self._free = [(done, card) for done, card in self._free if card not in self._dead]
        heapq.heapify(self._free)
        lost = [self._busy[card] for card in cards if card in self._busy]
        for over in lost:
            over.set_exception(WorkerLost("the card was lost"))
        self._health = self._look()
        self._announce()
        return len(lost)

    def cancel(self, job_id: str) -> None:
        """A card finishes what it has begun."""

    def health(self) -> ExecutorHealth:
        return self._health

    async def drain(self) -> None:
        """Not used by the queue."""

    async def reload(self) -> None:
        """Not used by the queue."""

    def _look(self) -> ExecutorHealth:
        alive = (card for card in range(self._scenario.gpus) if card not in self._dead)
        return ExecutorHealth([WorkerHealth(str(card), "ready") for card in alive])

    def _announce(self) -> None:
        for changed in self._changed:
            changed()


class Journal(MemoryJournal):
    """In memory, with the little that accepting has to know."""

    def __init__(self) -> None:
        super().__init__()
        self.begun_at: dict[str, float] = {}

    async def accept(self, job: Job, deadline_at: float) -> None:
        self.jobs[job.id] = job, deadline_at
        self.attempts[job.id] = job.attempts

    def begin(self, job_id: str, attempts: int) -> None:
        self.begun_at.setdefault(job_id, asyncio.get_running_loop().time())
        super().begin(job_id, attempts)

    async def finish(self, job_id: str, outcome: Outcome) -> None:
        self.jobs.pop(job_id, None)


@dataclass
class Figures:
    """What became of the jobs.

    Attributes:
        waits: seconds from acceptance to the first beginning, by priority.
        ends: how many jobs ended how, by code; "ok" is in time.
    """

    waits: dict[float, list[float]] = field(default_factory=lambda: {HIGH: [], LOW: []})
    ends: Counter[str] = field(default_factory=Counter)
    jobs_on_lost_cards: int = 0
    real_seconds: float = 0.0

    def row(self, scenario: Scenario) -> Mapping[str, str]:
        """For the table."""
        row = {"scenario": scenario.title, "jobs": str(self.ends.total())}
        for name, priority in (("high", HIGH), ("low", LOW)):
            waits = sorted(self.waits[priority]) or [0.0]
            row[f"{name} p50"] = f"{waits[len(waits) // 2]:.1f}"
            row[f"{name} p99"] = f"{waits[len(waits) * 99 // 100]:.1f}"
        missed = self.ends["deadline_exceeded"]
        refused = self.ends["deadline_too_short"] + self.ends["queue_full"]
        row |= {"done": str(self.ends["ok"]), "missed": str(missed), "refused": str(refused)}
        row["other"] = str(self.ends.total() - self.ends["ok"] - missed - refused)
        return row | {"hit by the loss": str(self.jobs_on_lost_cards)}


async def simulate(scenario: Scenario) -> Figures:
    """An hour of jobs, and what is left of them afterwards."""
    loop, chance, figures = asyncio.get_running_loop(), random.Random(17), Figures()
    fleet, journal = Fleet(scenario, chance), Journal()
    queue = JobQueue(
        fleet,
        journal,
        QueueSettings(max_depth=5000),
        Metrics(),
        loop.time,
        lambda: 1e9 + loop.time(),
    )
    running = asyncio.create_task(queue.run())

    async def offer(number: int) -> None:
        priority, began = (HIGH, LOW)[number % 2], loop.time()
        spec = JobSpec(prompt=f"thing {number}")
        job = Job(new_job_id(), spec, "5", "api", began + scenario.timeout, priority=priority)
        try:
            ticket = await queue.submit(job)
        except CapacityError as error:
            figures.ends[error.code] += 1
            return
        outcome = await ticket.outcome()
        figures.ends["ok" if isinstance(outcome, Asset) else outcome.code] += 1
        if job.id in journal.begun_at:
            figures.waits[priority].append(journal.begun_at.pop(job.id) - began)

    def lose() -> None:
        figures.jobs_on_lost_cards = fleet.lose(scenario.lost)

    if scenario.lost:
        loop.call_later(HOUR / 2, lose)
    async with asyncio.TaskGroup() as group:
        for number, pause in enumerate(arrivals(scenario, chance)):
            await asyncio.sleep(pause)
            group.create_task(offer(number))
    running.cancel()
    await asyncio.wait({running})
    return figures


def arrivals(scenario: Scenario, chance: random.Random) -> Iterator[float]:
    """Seconds between one job and the next."""
    for _ in range(scenario.per_hour):
        yield chance.expovariate(scenario.per_hour / HOUR)


def main() -> int:
    """Prints the table; 1 where a job had no outcome, or a calm fleet missed a deadline."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.ERROR)
    rows, status = [], 0
    for scenario in SCENARIOS:
        began = time.perf_counter()
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            figures = runner.run(simulate(scenario))
        figures = replace(figures, real_seconds=time.perf_counter() - began)
        rows.append({**figures.row(scenario), "took": f"{figures.real_seconds:.1f}"})
        calm = scenario.seconds * scenario.per_hour / HOUR < scenario.gpus / 2
        if figures.ends.total() != scenario.per_hour or (
            calm and figures.ends["ok"] != scenario.per_hour
        ):
            status = 1
    show(rows)
    return status


def show(rows: list[dict[str, str]]) -> None:
    """The table, and the same as comma-separated values."""
    heads = list(rows[0])
    widths = [max(len(head), *(len(row[head]) for row in rows)) for head in heads]
    for line in (dict(zip(heads, heads, strict=True)), *rows):
        print("  ".join(f"{line[h]:>{w}}" for h, w in zip(heads, widths, strict=True)))
    print("waits in simulated seconds, p50 and p99 by priority; took: real seconds for the hour")
    OUT.parent.mkdir(exist_ok=True)
    lines = [",".join(heads), *(",".join(f'"{row[h]}"' for h in heads) for row in rows)]
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""A pool of cards that exist in memory only: the supervisors are real, their workers stand-ins.

A stand-in says what ``miner/workers/worker.py`` says, at the times a worker would: it is ready when
it has loaded, gives signs of life, has its device free before its answer is encoded, and stops a
job that is cancelled. It tells no progress. A card that is lost ends its worker as the death of its
node does, and the next worker waits for a place until the card is back, as with Ray.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from itertools import count
from types import TracebackType
from typing import Any

from miner.errors import ChannelError, JobCancelled
from miner.gpu.plan import Card as PlannedCard
from miner.gpu.plan import MemoryPlan, StagePlan
from miner.job import Asset
from miner.settings import Settings, WorkerSettings
from miner.workers.changes import Changes
from miner.workers.channel import Message
from miner.workers.life import Tools, WorkerMetrics
from miner.workers.messages import (
    ALIVE,
    CANCEL,
    CONFIGURE,
    DEVICE_FREE,
    ERROR,
    JOB,
    READY,
    done_message,
    error_message,
)
from miner.workers.pool import Pool
from tests.benchmarks.fleet.scenarios import Scenario

LOAD_SECONDS = (20.0, 40.0)
"""From a new process to a warm one: some gigabytes from a disk."""

SPREAD = (0.8, 1.2)
"""What a job takes, of the mean."""

ENCODE_SECONDS = 0.5
"""From a free device to the answer."""

HANG_HEARTBEATS = 30
"""As the settings have it: a worker silent for so many is killed."""

GIB = 1 << 30
MEMORY = {"resident": 3 * GIB, "gpu_allocated": 11 * GIB, "gpu_reserved": 12 * GIB} | {
    "gpu_peak": 14 * GIB,
    "gpu_used": 15 * GIB,
    "gpu_total": 24 * GIB,
}

PLAN = MemoryPlan(
    PlannedCard("simulated card", 24 * GIB, 24 * GIB, (8, 9), 64 * GIB),
    tuple(
        StagePlan(part, part, "bf16", "resident", 4 * GIB, GIB, None, "fits")
        for part in ("text encoder", "transformer", "autoencoder")
    ),
    "simulated",
    peak_bytes=16 * GIB,
    limit_bytes=22 * GIB,
).as_json()

_pids = count(10_000)


class CardWorker:
    """One life of a card's worker: a ``Handle`` and its ``Channel`` in one."""

    def __init__(self, card: Card) -> None:
        self.pid = next(_pids)
        self.node = card.node
        self._card = card
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue()
        self._is_open = True
        self._every = 0.0
        self._jobs: dict[int, asyncio.TimerHandle] = {}

    # As a handle

    @property
    def channel(self) -> CardWorker:
        return self

    async def __aenter__(self) -> CardWorker:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.end()

    async def kill_with_trace(self) -> None:
        self.end()

    def epitaph(self) -> str:
        return f"node {self.node} has gone"

    def end(self) -> None:
        """It says nothing more; what it was at is not answered."""
        if self._is_open:
            self._is_open = False
            for timer in self._jobs.values():
                timer.cancel()
            self._heard.put_nowait(None)

    # As a channel

    async def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        if not self._is_open:
            raise ChannelError("the worker has gone")
        self._told(head)

    def post(self, head: Mapping[str, Any]) -> None:
        if self._is_open:
            self._told(head)

    async def receive(self) -> Message | None:
        return await self._heard.get()

    # As a worker

    def _told(self, head: Mapping[str, Any]) -> None:
        if head["type"] == CONFIGURE:
            self._every = float(head["heartbeat_seconds"])
            self._loop.call_later(self._every * self._card.chance.random(), self._give_sign_of_life)
            self._loop.call_later(self._card.chance.uniform(*LOAD_SECONDS), self._is_warm)
        elif head["type"] == JOB:
            takes = self._card.mean_seconds * self._card.chance.uniform(*SPREAD)
            self._later(head["number"], takes, self._has_made)
        elif head["type"] == CANCEL and (timer := self._jobs.pop(head["number"], None)):
            timer.cancel()
            self._say(error_message(ERROR, JobCancelled("withdrawn"), head["number"]))

    def _later(self, number: int, seconds: float, then: Any) -> None:
        self._jobs[number] = self._loop.call_later(seconds, then, number)

    def _say(self, message: Message) -> None:
        if self._is_open:
            self._heard.put_nowait(message)

    def _give_sign_of_life(self) -> None:
        if self._is_open:
            self._say(Message({"type": ALIVE, "memory": MEMORY}))
            self._loop.call_later(self._every, self._give_sign_of_life)

    def _is_warm(self) -> None:
        ready = {
            "type": READY,
            "load_seconds": {"models": LOAD_SECONDS[0], "warm_up": self._card.mean_seconds},
            "warm_up_seconds": self._card.mean_seconds,
            "generators": ["simulated"],
            "device": "simulated card",
            "plan": dict(PLAN),
            "memory": MEMORY,
        }
        self._say(Message(ready))

    def _has_made(self, number: int) -> None:
        self._say(Message({"type": DEVICE_FREE, "number": number, "settled": ["", 11 * GIB]}))
        self._later(number, ENCODE_SECONDS, self._has_encoded)

    def _has_encoded(self, number: int) -> None:
        del self._jobs[number]
        asset = Asset(f"{self._card.node} {number}".encode(), "spz", 1, "simulated", {})
        self._say(done_message(number, asset))


class Card:
    """One card, with its worker of the moment.

    Attributes:
        node: the host it is in; one for each.
        mean_seconds: of a job.
        chance: what times are drawn from.
    """

    def __init__(self, index: int, mean_seconds: float, chance: random.Random) -> None:
        self.node = f"10.0.{index // 250}.{index % 250 + 1}"
        self.mean_seconds = mean_seconds
        self.chance = chance
        self._is_there = asyncio.Event()
        self._is_there.set()
        self._worker: CardWorker | None = None

    async def spawn(self) -> CardWorker:
        """A new worker; waits for the card as long as it takes."""
        await self._is_there.wait()
        self._worker = CardWorker(self)
        return self._worker

    def lose(self) -> None:
        """It goes, and takes its worker along."""
        self._is_there.clear()
        if self._worker is not None:
            self._worker.end()

    def come_back(self) -> None:
        """A worker may be begun on it again."""
        self._is_there.set()


class Cards(Pool):
    """The cards of a scenario as an ``Executor``."""

    def __init__(
        self, scenario: Scenario, settings: Settings, metrics: WorkerMetrics, chance: random.Random
    ) -> None:
        every = scenario.heartbeat_seconds
        limits = WorkerSettings(
            heartbeat_seconds=every,
            hang_seconds=HANG_HEARTBEATS * every,
            job_seconds=2 * scenario.seconds,
        )
        clock = asyncio.get_running_loop().time
        super().__init__(settings, Tools(limits, Changes(), metrics, clock, asyncio.sleep))
        self._chance = chance
        self._cards = [Card(index, scenario.seconds, chance) for index in range(scenario.gpus)]
        self._tasks: list[asyncio.Task[None]] = []
        for index, card in enumerate(self._cards):
            self._new_worker(str(index), card.spawn)

    def _begin(self) -> None:
        self._tasks = [asyncio.create_task(one.run()) for one in self.supervisors]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_ready(self) -> None:
        """Returns when every card can take a job."""
        await asyncio.sleep(LOAD_SECONDS[1] + 1.0)
        assert self.capacity == len(self._cards)

    def lose(self, share: float) -> tuple[list[Card], int]:
        """Some cards go, drawn by chance: which, and how many jobs they had in hand."""
        lost = self._chance.sample(range(len(self._cards)), round(share * len(self._cards)))
        in_hand = sum(self.supervisors[index].in_hand for index in lost)
        for index in lost:
            self._cards[index].lose()
        return [self._cards[index] for index in lost], in_hand

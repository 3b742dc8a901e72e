"""A queue that does what the test says, in front of the real journal."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from miner.admission.peers import Peer
from miner.errors import MinerError
from miner.job import MAIN, Asset, Job, Outcome
from miner.journal import Journal, Partition
from miner.network.intake import ValidatorIntake
from miner.settings.daemon import JournalSettings, QueueSettings
from tests.admission.fakes import MINER, START, STRANGER, VALIDATOR, Clock

PEER = Peer(VALIDATOR.ss58_address, 7, 5000.0, validator_permit=True)
OTHER = Peer(STRANGER.ss58_address, 8, 9000.0, validator_permit=True)
SETTINGS = QueueSettings(
    deadline_margin_seconds=2.0, default_timeout_seconds=100.0, max_timeout_seconds=200.0
)
ASSET = Asset(b"splat" * 20, "spz", 1234, "triposr", {"text_to_image": 1.5, "encode": 0.25})


def picture(side: int = 32, format: str = "PNG") -> bytes:
    """The bytes of a square picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, format)
    return buffer.getvalue()


class FakeTicket:
    """A job whose outcome the test sets through the queue."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.left = False
        self.waiting = asyncio.Event()
        self.result: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def outcome(self) -> Outcome:
        self.waiting.set()
        return await self.result

    def leave(self) -> None:
        self.left = True


@dataclass
class FakeQueue:
    """Journals what it takes, as the real one does.

    Attributes:
        answer: the outcome that every job gets at once; None leaves it to ``finish``.
        refuse: raised by ``submit`` where it is set.
        tickets: one for each job taken, in order.
    """

    journal: Journal
    answer: Outcome | None = ASSET
    refuse: MinerError | None = None
    tickets: list[FakeTicket] = field(default_factory=list)
    submitted: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, job: Job) -> FakeTicket:
        if self.refuse is not None:
            raise self.refuse
        await self.journal.accept(job, deadline_at=START)
        ticket = FakeTicket(job)
        self.tickets.append(ticket)
        self.submitted.set()
        if self.answer is not None:
            await self.finish(ticket, self.answer)
        return ticket

    async def finish(self, ticket: FakeTicket, outcome: Outcome) -> None:
        """Gives a job its outcome, in the journal first."""
        await self.journal.finish(ticket.job.id, outcome)
        ticket.result.set_result(outcome)


@dataclass
class Bench:
    """An intake, and everything around it at hand."""

    intake: ValidatorIntake
    queue: FakeQueue
    journal: Journal
    clock: Clock

    @property
    def jobs(self) -> list[Job]:
        return [ticket.job for ticket in self.queue.tickets]


@asynccontextmanager
async def intake_bench(folder: Path) -> AsyncIterator[Bench]:
    """An intake with a journal in ``folder``."""
    clock = Clock()
    async with await Journal.open(folder, JournalSettings(), wall_clock=clock) as journal:
        queue = FakeQueue(journal)
        part = Partition(journal, MAIN)
        yield Bench(
            ValidatorIntake(queue, part, SETTINGS, MINER.ss58_address, clock), queue, journal, clock
        )

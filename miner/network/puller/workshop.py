"""Where tasks are made: whether one more could be, and from a task to an outcome in the journal.

Puts jobs into the queue that all intakes share. A task that was taken up before, in this life of
the daemon or an earlier one, is waited for or found, never made again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from miner.errors import CapacityError, JournalUnavailable, KnownTask, RequestError
from miner.job import Asset, Job, JobSpec, Outcome
from miner.journal import Record
from miner.network.puller.clocks import Clocks
from miner.network.puller.tasks import DELIVERY_SECONDS, Assignment, job_of, spec_of
from miner.settings.pull import PullSettings

T = TypeVar("T")

AGAIN_SECONDS = 1.0
"""Until the queue or the journal is asked again."""
LEAD_SECONDS = 2.0
"""What a pull takes: so long before a worker is free, the next task may be asked for even if it
then waits at the price of some cooldown."""


class Ticket(Protocol):
    """A job in the queue."""

    async def outcome(self) -> Outcome:
        """Waits for what becomes of it."""


class QueueState(Protocol):
    """The queue at one moment."""

    @property
    def depth(self) -> int:
        """Jobs that wait."""

    @property
    def accepting(self) -> bool:
        """False once it drains."""

    @property
    def service_seconds(self) -> float | None:
        """What a job has been taking."""


class Queue(Protocol):
    """What is needed of the queue; see ``JobQueue``."""

    async def submit(self, job: Job) -> Ticket:
        """Takes a job, or raises a ``CapacityError`` or ``KnownTask``."""

    def attach(self, job_id: str) -> Ticket | None:
        """A claim to a job that is there already."""

    def snapshot(self) -> QueueState:
        """How it is."""

    def wait_seconds(self, priority: float = 0.0) -> float | None:
        """How long until one more job would begin."""


class Workers(Protocol):
    """What is needed of the executor."""

    @property
    def capacity(self) -> int:
        """How many more jobs could begin at once."""

    @property
    def slots(self) -> int:
        """How many jobs can be done at a time."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called whenever ``capacity`` may have grown."""


class Archive(Protocol):
    """What is needed of the journal."""

    @property
    def failed(self) -> str | None:
        """Why nothing can be written at the moment."""

    async def find_task(self, task_id: str) -> Record | None:
        """The record of a job by its task."""

    async def asset(self, job_id: str) -> Asset | None:
        """A job's result, while it is kept."""


@dataclass(frozen=True)
class Finished:
    """A task whose outcome is in the journal, or that can have none.

    Attributes:
        job_id: of the job; None where none was made.
        failure: one line on why there is nothing to bring; None where there is a result.
    """

    job_id: str | None
    failure: str | None = None


class Workshop:
    """The queue, the workers and the journal, as the puller uses them.

    Args:
        miner: our hotkey.
    """

    def __init__(
        self,
        queue: Queue,
        workers: Workers,
        archive: Archive,
        miner: str,
        settings: PullSettings,
        clocks: Clocks,
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._archive = archive
        self._miner = miner
        self._settings = settings
        self._clocks = clocks

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called whenever there may be more room."""
        self._workers.subscribe(changed)

    def room(self, coming: int, free_seconds: float, stake: float) -> bool:
        """Whether one more task could be made soon enough to be asked for.

        While a worker is free there is room. Beyond that ``settings.ahead`` tasks may wait, each
        only once it would be done within what is free, or a worker is about to be free.

        Args:
            coming: tasks asked for, or given, that are not in the queue yet.
            free_seconds: of generation that cost nothing.
            stake: of the validator: its task goes before those with less.
        """
        state, slots = self._queue.snapshot(), self._workers.slots
        if not (slots and state.accepting) or self._archive.failed is not None:
            return False
        waiting = state.depth + coming - self._workers.capacity
        if waiting < 0:
            return True
        if waiting >= self._settings.ahead:
            return False
        service = state.service_seconds or 0.0
        wait = (self._queue.wait_seconds(stake) or 0.0) + service * coming / slots
        return wait <= max(free_seconds - service - DELIVERY_SECONDS, LEAD_SECONDS)

    # Making

    async def make(
        self, assignment: Assignment, stake: float, entered: Callable[[], None]
    ) -> Finished:
        """Has a task made and returns when its outcome is in the journal.

        Waits as long as it takes: for room in the queue, for the disk, for the work.

        Args:
            assignment: the task.
            stake: of its validator.
            entered: called once it is in the queue, or needs no place there.
        """
        ticket: Ticket | None
        record = await self._patiently(lambda: self._archive.find_task(assignment.key))
        if record is not None:
            ticket = self._queue.attach(record.id)
        else:
            try:
                spec = await spec_of(assignment, self._miner)
            except RequestError as error:
                entered()
                return Finished(None, str(error))
            ticket = await self._enter(assignment, spec, stake)
        entered()
        if ticket is not None:
            await ticket.outcome()  # what counts is what the journal says of it
        return await self._recorded(assignment)

    async def result(self, finished: Finished) -> Asset | None:
        """The asset; None where there is none, or it is not kept any more."""
        job_id = finished.job_id
        if job_id is None or finished.failure is not None:
            return None
        return await self._patiently(lambda: self._archive.asset(job_id))

    async def settled(self) -> None:
        """Returns when everything posted to the journal so far is on disk."""
        await self._patiently(lambda: self._archive.asset(""))
        while self._archive.failed is not None:
            await self._clocks.sleep(AGAIN_SECONDS)

    async def _enter(self, assignment: Assignment, spec: JobSpec, stake: float) -> Ticket | None:
        while True:
            deadline = self._clocks.steady() + self._settings.task_seconds
            age = self._clocks.wall() - assignment.pulled_at
            try:
                return await self._queue.submit(job_of(assignment, spec, stake, deadline, age))
            except KnownTask:
                return None
            except CapacityError:
                await self._clocks.sleep(AGAIN_SECONDS)

    async def _recorded(self, assignment: Assignment) -> Finished:
        while True:
            record = await self._patiently(lambda: self._archive.find_task(assignment.key))
            if record is None:
                return Finished(None, "the journal has forgotten it")
            if record.state == "done":
                return Finished(record.id)
            if record.state == "failed":
                return Finished(record.id, f"{record.code}: {record.message}")
            await self._clocks.sleep(AGAIN_SECONDS)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the journal answers, asked again while the disk refuses."""
        while True:
            try:
                return await ask()
            except JournalUnavailable:
                await self._clocks.sleep(AGAIN_SECONDS)

"""What the gateways' intake needs of others: protocols only, as narrow as their use."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from miner.executor import ExecutorHealth
from miner.job import Asset, Job, Outcome
from miner.journal import Record
from miner.network.gateway.assignments import Facts
from miner.network.gateway.messages import Assignment, Offer


class Client(Protocol):
    """Calls gateways; see ``GatewayClient``."""

    async def __aenter__(self) -> Self:
        """Opens its connections."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Closes them."""

    async def get_tasks(self, url: str, count: int) -> Offer:
        """Asks for tasks."""

    async def add_result(self, assignment: Assignment, outcome: Outcome) -> None:
        """Brings a result."""


class Ticket(Protocol):
    """A claim to a job's outcome."""

    async def outcome(self) -> Outcome:
        """Waits for it."""


class QueueState(Protocol):
    """The queue at one moment."""

    @property
    def depth(self) -> int:
        """Jobs that wait."""

    @property
    def accepting(self) -> bool:
        """False once it drains."""


class Queue(Protocol):
    """Takes jobs."""

    async def submit(self, job: Job) -> Ticket:
        """Takes one: it is in the journal when this returns."""

    def attach(self, job_id: str) -> Ticket | None:
        """A claim to a job that is there without its outcome."""

    def snapshot(self) -> QueueState:
        """How it is."""


class Journal(Facts, Protocol):
    """Knows what became of jobs."""

    async def find_task(self, task_id: str) -> Record | None:
        """The record of a job by its task id."""

    async def asset(self, job_id: str) -> Asset | None:
        """A job's result, while it is kept."""

    def deliver(self, job_id: str) -> None:
        """Notes that whoever asked has the outcome."""

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Appends to the log of decisions."""


class Executor(Protocol):
    """Does the work."""

    @property
    def capacity(self) -> int:
        """How many more jobs could begin at once."""

    def health(self) -> ExecutorHealth:
        """How the workers are."""


class Instruments(Protocol):
    """Counts."""

    def gateway_call(self, call: str, outcome: str) -> None:
        """A gateway was asked ("get_tasks") or brought a result ("add_result")."""

"""What the operator's pages may know of the journal; protocols only, see ``view.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from miner.job import Asset


class JobRecord(Protocol):
    """What the journal knows of one job."""

    @property
    def id(self) -> str:
        """As in ``Job``."""

    @property
    def identity(self) -> str:
        """As in ``Job``."""

    @property
    def requester(self) -> str:
        """As in ``Job``."""

    @property
    def intake(self) -> str:
        """As in ``Job``."""

    @property
    def prompt(self) -> str | None:
        """None for a picture."""

    @property
    def seed(self) -> int:
        """As in ``JobSpec``."""

    @property
    def format(self) -> str:
        """As in ``JobSpec``."""

    @property
    def attempts(self) -> int:
        """How often it was begun."""

    @property
    def state(self) -> str:
        """One of "queued", "running", "done", "failed"."""

    @property
    def code(self) -> str | None:
        """Of the failure."""

    @property
    def message(self) -> str | None:
        """Of the failure."""

    @property
    def status(self) -> int | None:
        """Of the failure."""

    @property
    def generator(self) -> str | None:
        """What made it, where it is done."""

    @property
    def gaussians(self) -> int | None:
        """Of the result."""

    @property
    def bytes(self) -> int | None:
        """Of the result."""

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds by stage, where it is done."""

    @property
    def score(self) -> float | None:
        """As in ``Asset``."""

    @property
    def candidates(self) -> int | None:
        """As in ``Asset``."""

    @property
    def accepted_at(self) -> float:
        """Unix seconds."""

    @property
    def begun_at(self) -> float | None:
        """Unix seconds."""

    @property
    def finished_at(self) -> float | None:
        """Unix seconds."""

    @property
    def delivered_at(self) -> float | None:
        """Unix seconds."""

    @property
    def kept(self) -> bool:
        """Whether the result is still there."""


class Decision(Protocol):
    """One entry of the journal's log."""

    @property
    def at(self) -> float:
        """Unix seconds."""

    @property
    def kind(self) -> str:
        """What was decided."""

    @property
    def detail(self) -> Mapping[str, Any]:
        """Its particulars."""


class JournalState(Protocol):
    """Statistics of the journal that the status page shows."""

    @property
    def file_bytes(self) -> int:
        """Of its files."""

    @property
    def jobs(self) -> int:
        """Records in all."""

    @property
    def unfinished(self) -> int:
        """Jobs without an outcome."""

    @property
    def results(self) -> int:
        """Assets kept."""

    @property
    def result_bytes(self) -> int:
        """Of those together."""


class JournalView(Protocol):
    """The journal as the HTTP API uses it."""

    @property
    def failed(self) -> str | None:
        """Why nothing can be written at the moment."""

    @property
    def stats(self) -> JournalState:
        """How large it is."""

    async def find(self, job_id: str) -> JobRecord | None:
        """The record of a job."""

    async def recent(self, limit: int) -> Sequence[JobRecord]:
        """The jobs accepted last, newest first."""

    async def events(self, limit: int, kind: str | None = None) -> Sequence[Decision]:
        """The last decisions, or of those of one kind, oldest first."""

    async def asset(self, job_id: str) -> Asset | None:
        """Its result, while it is kept."""

    def deliver(self, job_id: str) -> None:
        """Notes that the requester has it."""

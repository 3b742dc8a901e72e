"""What the queue needs of the journal and of the metrics, and nothing more of either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from miner.job import Job, Outcome


class Promises(Protocol):
    """Where accepted jobs and their outcomes outlive the process; the journal."""

    async def accept(self, job: Job, deadline_at: float) -> None:
        """On disk when it returns; ``deadline_at`` in unix seconds."""

    def begin(self, job_id: str, attempts: int) -> None:
        """An attempt begins."""

    def put_back(self, job_id: str, attempts: int) -> None:
        """It waits again, with so many attempts that count."""

    async def finish(self, job_id: str, outcome: Outcome) -> None:
        """On disk when it returns; the first outcome counts."""

    async def unfinished(self) -> list[tuple[Job, float]]:
        """Without outcome, oldest first, with deadlines in unix seconds."""

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """A decision, for the log."""


class QueueMetrics(Protocol):
    """What is counted."""

    def job_accepted(self, identity: str, intake: str) -> None:
        """It is in the queue and in the journal."""

    def job_refused(self, identity: str, code: str) -> None:
        """It is in neither."""

    def job_joined(self) -> None:
        """It shares the generation of an equal one."""

    def job_finished(
        self,
        identity: str,
        intake: str,
        code: str,
        seconds: float,
        generator: str | None = None,
    ) -> None:
        """It has its outcome."""

    def job_waited(self, seconds: float) -> None:
        """It begins."""

    def stage(self, stage: str, generator: str, seconds: float) -> None:
        """A stage took so long."""

    def asset(self, generator: str, bytes: int, gaussians: int) -> None:
        """A result came."""

    def queue(self, depth: int, in_flight: int) -> None:
        """So many wait and so many are being done."""

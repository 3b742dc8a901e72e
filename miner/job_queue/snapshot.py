"""The queue at one moment, for status pages and gauges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class JobLine:
    """One job.

    Attributes:
        stage, steps: what is being done to it, with the steps done and those in all.
    """

    id: str
    state: Literal["queued", "running"]
    stage: str | None = None
    steps: tuple[int, int] | None = None


@dataclass(frozen=True)
class QueueSnapshot:
    """All of it.

    Attributes:
        depth: jobs that wait.
        in_flight: generations being done; jobs that share one count once.
        accepting: False once it drains.
        service_seconds: what a job has typically been taking; None before the first.
        oldest_seconds: how long the oldest waiting job has been waiting.
    """

    depth: int
    in_flight: int
    accepting: bool
    service_seconds: float | None
    oldest_seconds: float | None
    jobs: Sequence[JobLine]

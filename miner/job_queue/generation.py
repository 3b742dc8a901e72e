"""One piece of work for the executor, and the jobs that share it because their specs are equal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from miner.job import MAIN, Job, Outcome

Order = tuple[bool, float, float, int]
"""Greater goes first: a retry, then priority, then the earlier deadline, then arrival."""


@dataclass(eq=False)
class Member:
    """One accepted job.

    Attributes:
        key: of its spec.
        accepted_at: monotonic seconds.
        told: the outcome as its ticket sees it.
        left: whoever waited for it has gone.
        settled: its outcome is decided; written by the ledger alone.
        counted: that outcome is in the metrics; written by the ledger alone.
        generation: the work it shares; None until it is in the queue and after it is settled.
    """

    job: Job
    key: str
    accepted_at: float
    told: asyncio.Future[Outcome]
    left: bool = False
    settled: bool = False
    counted: bool = False
    generation: Generation | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody will ask for its outcome."""
        return self.job.promised or not (self.left or self.told.done())


@dataclass(eq=False)
class Generation:
    """Work that waits or runs.

    Attributes:
        arrival: counts up; breaks ties.
        members: by job id, in order of arrival; never empty while it waits.
        attempts: how often it was begun, the present one included.
        retried: a worker was lost under it: it goes before everything else.
        started_at: monotonic seconds, while it runs.
        job: what the executor was given, while it runs.
        payer: the identity whose turn it was when it was last begun.
        charged_seconds: what that turn was taken to need of a worker.
        stage, steps: the last progress.
    """

    key: str
    arrival: int
    members: dict[str, Member] = field(default_factory=dict)
    attempts: int = 0
    retried: bool = False
    started_at: float | None = None
    job: Job | None = None
    payer: str = MAIN
    charged_seconds: float = 0.0
    stage: str | None = None
    steps: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self.members.values()))  # members settle while they are walked over

    @property
    def running(self) -> bool:
        """Whether the executor has it."""
        return self.job is not None

    @property
    def wanted(self) -> bool:
        """Whether anybody will ask for its result."""
        return any(member.wanted for member in self.members.values())

    @property
    def identities(self) -> frozenset[str]:
        """Those that its jobs were asked of."""
        return frozenset(member.job.identity for member in self.members.values())

    def order(self, joining: Job | None = None) -> Order:
        """Its place among those that wait, as it is or with one more job."""
        jobs = [member.job for member in self.members.values()]
        if joining is not None:
            jobs.append(joining)
        priority = max(job.priority for job in jobs)
        return self.retried, priority, -min(job.deadline for job in jobs), -self.arrival

    def add(self, member: Member) -> None:
        """One more job shares it."""
        self.members[member.job.id] = member
        self.attempts = max(self.attempts, member.job.attempts)
        member.generation = self

    def begin(self, now: float) -> Job:
        """Counts an attempt and returns the job for it: the first member's, for all of them."""
        jobs = [member.job for member in self.members.values()]
        self.attempts += 1
        self.started_at = now
        self.job = replace(
            jobs[0],
            free_seconds=self._free_seconds(now),
            deadline=max(job.deadline for job in jobs),
            priority=max(job.priority for job in jobs),
            attempts=self.attempts - 1,
        )
        return self.job

    def _free_seconds(self, now: float) -> float | None:
        """What is left of the time that costs none of its jobs anything; None if none says."""
        ends = [
            member.accepted_at + member.job.free_seconds
            for member in self
            if member.job.free_seconds is not None
        ]
        if not ends:
            return None
        return max(0.0, min(*ends, *(member.job.deadline for member in self)) - now)

    def stop(self, counts: bool) -> None:
        """It runs no more; an attempt that never reached a worker does not count."""
        self.attempts -= not counts
        self.job = self.started_at = self.stage = self.steps = None

    def progress(self, stage: str, done: int, total: int) -> None:
        """What the executor says of it."""
        self.stage, self.steps = stage, (done, total)

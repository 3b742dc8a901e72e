"""Outcomes: decided once, written to the journal, counted, then told to whoever waits.

Knows no order and no executor. A job whose outcome the disk refuses is told it all the same: the
journal tries again by itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from miner.errors import DeadlineExceeded, JournalUnavailable
from miner.job import Asset, Failure, Job, Outcome
from miner.job_queue.contracts import Promises, QueueMetrics
from miner.job_queue.generation import Member

log = structlog.get_logger(__name__)

LATE = Failure.of(DeadlineExceeded("it was not done by its deadline"))


class Ledger:
    """Every accepted job, from its acceptance until its outcome is told.

    Attributes:
        members: accepted and not settled, by job id.
        of_identity: how many of those each identity has.
        entering: how many jobs of each are on the way to the disk, not accepted yet.
        emptied: set while there are neither.
        closing: settled, and their outcomes on the way to the disk, by job id.
    """

    def __init__(
        self, journal: Promises, metrics: QueueMetrics, clock: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        # Written by this object only.
        self.members: dict[str, Member] = {}
        self.of_identity: Counter[str] = Counter()
        self.entering: Counter[str] = Counter()
        self.emptied = asyncio.Event()
        self.emptied.set()
        self.closing: dict[str, tuple[Member, Outcome]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self.members) + len(self.closing)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self.members or job_id in self.closing

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something that must not be cut short; ``flush`` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def enter(self, member: Member) -> None:
        """An accepted job."""
        self.members[member.job.id] = member
        self.of_identity[member.job.identity] += 1
        self.emptied.clear()

    def expect(self, job: Job) -> None:
        """A job is about to be accepted, and takes its place from now on."""
        self.entering[job.identity] += 1
        self.emptied.clear()

    async def accept(self, member: Member, deadline_at: float) -> None:
        """Writes down an expected job and enters it; ``deadline_at`` in unix seconds.

        Raises:
            KnownTask, JournalUnavailable: it is not accepted.
        """
        try:
            await self._journal.accept(member.job, deadline_at)
            self.enter(member)
        finally:
            self.entering[member.job.identity] -= 1
            self._note_if_empty()
        self._metrics.job_accepted(member.job.identity, member.job.intake)

    def settle(self, member: Member, outcome: Outcome) -> None:
        """Gives a job its outcome, if it has none; in the journal and told a little later."""
        if member.settled:
            return
        member.settled = True
        self._detach(member)
        self._count(member, outcome)
        self.closing[member.job.id] = (member, outcome)
        self.keep(self._write(member, outcome))

    def leave_for_later(self, member: Member, attempts: int, why: Failure) -> None:
        """Lets go of a promised job without an outcome: the next life of the daemon does it."""
        if member.settled:
            return
        member.settled = True
        self._detach(member)
        self._journal.put_back(member.job.id, attempts)
        _tell(member, why)

    def late(self, job_id: str) -> None:
        """The deadline of a running or closing job has passed: who waits for it is told.

        What exists already is told as it is, though the disk has not taken it yet.
        """
        if job_id in self.closing:
            member, outcome = self.closing[job_id]
            _tell(member, outcome)
        elif job_id in self.members and not self.members[job_id].job.promised:
            member = self.members[job_id]
            if not member.left:
                self._count(member, LATE)
            _tell(member, LATE)

    async def flush(self) -> None:
        """Returns when everything kept has ended and every outcome has been told."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _write(self, member: Member, outcome: Outcome) -> None:
        try:
            await self._journal.finish(member.job.id, outcome)
        except JournalUnavailable as error:
            log.error("outcome_not_written_yet", job=member.job.id, reason=str(error))
        finally:
            del self.closing[member.job.id]
            _tell(member, outcome)

    def _detach(self, member: Member) -> None:
        if self.members.pop(member.job.id, None) is not None:
            self.of_identity[member.job.identity] -= 1
        if member.generation is not None:
            del member.generation.members[member.job.id]
            member.generation = None
        self._note_if_empty()

    def _note_if_empty(self) -> None:
        if not self.members and not self.entering.total():
            self.emptied.set()

    def _count(self, member: Member, outcome: Outcome) -> None:
        if member.counted:
            return
        member.counted = True
        code = outcome.code if isinstance(outcome, Failure) else "ok"
        generator = outcome.generator if isinstance(outcome, Asset) else None
        seconds = self._clock() - member.accepted_at
        self._metrics.job_finished(member.job.identity, member.job.intake, code, seconds, generator)
        _say(member.job, outcome, code, seconds)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever started it has seen it, or has left


def _say(job: Job, outcome: Outcome, code: str, seconds: float) -> None:
    """The one line that every job gets in the log. No prompt: those are the validators'."""
    about = {
        "job": job.id,
        "identity": job.identity,
        "intake": job.intake,
        "requester": job.requester,
        "code": code,
        "seconds": round(seconds, 3),
    }
    if isinstance(outcome, Failure):
        log.warning("job_failed", **about, reason=outcome.message)
    else:
        made = {"gaussians": outcome.gaussians, "bytes": len(outcome.data)}
        log.info("job_done", **about, generator=outcome.generator, **made)


def _tell(member: Member, outcome: Outcome) -> None:
    if not member.told.done():
        member.told.set_result(outcome)

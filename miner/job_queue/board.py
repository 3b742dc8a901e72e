"""Every job between acceptance and outcome, and the generation it shares: who waits, who runs.

Plain state and its rules, without waiting for anything. Begins no work: ``dispatcher.py`` does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from miner.errors import DeadlineExceeded, Draining, JobCancelled
from miner.job import Failure, Job, Outcome
from miner.job_queue.contracts import Promises, QueueMetrics
from miner.job_queue.deadlines import Deadlines
from miner.job_queue.generation import Generation, Member
from miner.job_queue.ledger import Ledger
from miner.job_queue.lines import Lines
from miner.job_queue.snapshot import JobLine

EXPIRED = Failure.of(DeadlineExceeded("its deadline passed before it could be done"))
LEFT = Failure.of(JobCancelled("its caller left before it was begun"))
WITHDRAWN = Failure.of(JobCancelled("it was withdrawn"))
STOPPED = Failure.of(Draining("the miner is stopping"))


class Board:
    """All mutable state of the queue; one event loop.

    Args:
        cancel: asks the executor to stop a job.
        share: of the workers' time, by identity.

    Attributes:
        ledger: jobs without outcome, and outcomes on their way.
        waiting: generations that wait, in the lines of their identities.
        running: those that the executor has, by arrival.
        wake: set when the dispatcher should look again.
        closed: nothing is begun any more; what enters is let go.
    """

    def __init__(
        self,
        journal: Promises,
        metrics: QueueMetrics,
        clock: Callable[[], float],
        cancel: Callable[[str], None],
        share: Callable[[str], float],
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._cancel = cancel
        self._share = share
        self._arrivals = itertools.count()
        self.wake = asyncio.Event()
        self.closed = False
        # Written by this object only. Whom nobody may join any more is not in ``_generations``.
        self.ledger = Ledger(journal, metrics, clock)
        self.waiting = Lines(share)
        self.running: dict[int, Generation] = {}
        self._generations: dict[str, Generation] = {}
        self._deadlines = Deadlines(clock, self.wake.set)

    # Jobs come

    def member(self, job: Job, key: str) -> Member:
        """A job that is about to be accepted."""
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        return Member(job, key, self._clock(), told)

    def insert(self, member: Member) -> None:
        """Puts an accepted job into the generation of its equals, or a new one."""
        if self.closed:
            self._let_go(member, member.job.attempts)
        elif member.left and not member.job.promised:
            self.ledger.settle(member, LEFT)
        else:
            self._join(member)
            self._deadlines.add(member.job.deadline, member.job.id)
            self.wake.set()

    def _join(self, member: Member) -> None:
        generation = self._generations.get(member.key)
        if generation is None:
            generation = Generation(member.key, next(self._arrivals))
            self._generations[member.key] = generation
        else:
            self._metrics.job_joined()
        generation.add(member)
        if generation.running:
            self._journal.begin(member.job.id, generation.attempts)
            self._metrics.job_waited(0.0)
        else:
            self.waiting.add(generation)

    def equal(self, key: str) -> Generation | None:
        """The generation that a job of this spec would join."""
        return self._generations.get(key)

    # Jobs go

    def leave(self, member: Member) -> None:
        """Whoever waited has gone; see ``Ticket.leave``."""
        if member.settled or member.left or member.job.promised:
            return
        member.left = True
        generation = member.generation
        if generation is not None and not generation.running:
            self.ledger.settle(member, LEFT)
            self._after_loss(generation)

    def withdraw(self, job_id: str) -> bool:
        """Cancels a job, promised or not; False where there is none."""
        member = self.ledger.members.get(job_id)
        if member is None:
            return False
        generation = member.generation
        self.ledger.settle(member, WITHDRAWN)
        if generation is not None:
            self._after_loss(generation)
        return True

    def expire(self) -> None:
        """Settles waiting jobs past their deadline, and ends the waits for running ones."""
        for job_id in self._deadlines.passed(self.ledger):
            member = self.ledger.members.get(job_id)
            generation = member.generation if member is not None else None
            if member is None or generation is None or generation.running:
                self.ledger.late(job_id)
                continue
            self.ledger.settle(member, EXPIRED)
            self._after_loss(generation)

    def abandon(self) -> None:
        """Lets go of everything: what runs is cancelled, see ``JobQueue.drain``."""
        self.closed = True
        self._deadlines.stop()
        for generation in self.running.values():
            if generation.job is not None:
                self._cancel(generation.job.id)
        for member in tuple(self.ledger.members.values()):
            shared = member.generation
            attempts = shared.attempts - shared.running if shared is not None else 0
            self._let_go(member, max(attempts, member.job.attempts))
        self.running.clear()
        self.waiting = Lines(self._share)
        self._generations.clear()

    def _let_go(self, member: Member, attempts: int) -> None:
        if member.job.promised:
            self.ledger.leave_for_later(member, attempts, STOPPED)
        else:
            self.ledger.settle(member, STOPPED)

    def _after_loss(self, generation: Generation) -> None:
        """A job has gone out of a generation, which may be of no use any more, or less urgent."""
        if not generation.running:
            if not generation.wanted:
                self._close(generation, LEFT)
            else:
                self.waiting.add(generation)
        elif not generation.members:
            self._forget(generation)
            if generation.job is not None:
                self._cancel(generation.job.id)

    # Generations begin and end

    def next(self, seconds: float) -> Generation | None:
        """Takes out the next generation worth beginning.

        Args:
            seconds: jobs that have less time left are dropped, as none was ever done so fast.
        """
        horizon = self._clock() + seconds
        while len(self.waiting):
            generation = self.waiting.pop()
            for member in generation:
                if member.job.deadline <= horizon:
                    self.ledger.settle(member, EXPIRED)
            if generation.wanted:
                return generation
            self._close(generation, LEFT)
        return None

    def begin(self, generation: Generation, seconds: float) -> Job:
        """Notes that an attempt begins, for each job that shares it.

        Args:
            generation: what ``next`` gave.
            seconds: that it is taken to need; its identity is charged with them.
        """
        now = self._clock()
        job = generation.begin(now)
        generation.charged_seconds = seconds
        self.waiting.charge(generation.payer, seconds)
        self.running[generation.arrival] = generation
        for member in generation:
            self._journal.begin(member.job.id, generation.attempts)
            self._metrics.job_waited(now - member.accepted_at)
        return job

    def put_back(self, generation: Generation, counts: bool) -> None:
        """Has a generation wait again, before everything else."""
        self._stop(generation, counts)
        generation.retried = True
        for member in generation:
            if member.job.deadline <= self._clock():
                self.ledger.settle(member, EXPIRED)
            else:
                self._journal.put_back(member.job.id, generation.attempts)
        self._after_loss(generation)

    def end(self, generation: Generation, outcome: Outcome) -> None:
        """Gives all its jobs the outcome."""
        self._stop(generation, counts=True)
        self._close(generation, outcome)

    def _stop(self, generation: Generation, counts: bool) -> None:
        self.running.pop(generation.arrival, None)  # gone already where all was abandoned
        now = self._clock()
        began = now if generation.started_at is None or not counts else generation.started_at
        self.waiting.correct(generation.payer, now - began - generation.charged_seconds)
        generation.stop(counts)
        self.wake.set()

    def _close(self, generation: Generation, outcome: Outcome) -> None:
        self.waiting.discard(generation)
        self._forget(generation)
        for member in generation:
            self.ledger.settle(member, outcome)

    def _forget(self, generation: Generation) -> None:
        if self._generations.get(generation.key) is generation:
            del self._generations[generation.key]

    # How it is

    @property
    def depth(self) -> int:
        """Jobs that wait for something: all but one for each running generation."""
        busy = sum(1 for generation in self.running.values() if generation.members)
        return len(self.ledger.members) + self.ledger.entering.total() - busy

    def depth_of(self, identity: str) -> int:
        """Likewise, of one identity."""
        busy = sum(1 for one in self.running.values() if one.members and one.payer == identity)
        known = self.ledger.of_identity[identity] + self.ledger.entering[identity]
        return max(0, known - busy)

    @property
    def queued(self) -> int:
        """Jobs whose work has not begun."""
        begun = sum(len(generation.members) for generation in self.running.values())
        return len(self.ledger.members) - begun

    def queued_of(self, identity: str) -> int:
        """Likewise, of one identity."""
        begun = (member for generation in self.running.values() for member in generation)
        of_it = sum(member.job.identity == identity for member in begun)
        return self.ledger.of_identity[identity] - of_it

    def lines(self) -> tuple[JobLine, ...]:
        """All jobs: those that run, then those that wait in their order."""
        return tuple(
            JobLine(
                member.job.id,
                "running" if generation.running else "queued",
                generation.stage,
                generation.steps,
            )
            for generation in (*self.running.values(), *self.waiting)
            for member in generation
        )

    def queued_since(self) -> list[float]:
        """When each waiting job was accepted, monotonic seconds."""
        return [member.accepted_at for generation in self.waiting for member in generation]

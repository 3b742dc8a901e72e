"""The queue: takes jobs or refuses them, begins them in order, and sees each to one outcome.

One event loop, one ``run``. Jobs with equal specs share one generation. Who does the work is the
executor's business, what outlives the process the journal's; protocols, permits and encodings are
no concern of this package.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from miner.errors import Draining, JobCancelled, MinerError, WorkerLost
from miner.executor import Executor
from miner.job import MAIN, Failure, Job
from miner.job_queue.board import EXPIRED, Board
from miner.job_queue.contracts import Promises, QueueMetrics
from miner.job_queue.dispatcher import Dispatcher
from miner.job_queue.door import Door
from miner.job_queue.generation import Member
from miner.job_queue.service_time import ServiceTime
from miner.job_queue.shares import Shares
from miner.job_queue.snapshot import QueueSnapshot
from miner.job_queue.ticket import Ticket
from miner.settings.daemon import QueueSettings

RESTARTED = Failure.of(JobCancelled("the daemon ended while its caller waited"))


class JobQueue:
    """All jobs between an intake and the executor.

    Args:
        executor: does the work.
        journal: remembers what was accepted and what became of it.
        settings: its limits.
        metrics: told what happens.
        clock: monotonic seconds, as in ``Job.deadline``.
        wall_clock: unix seconds, for deadlines in the journal.
        shares: of each identity, by its name, where there are several.

    Attributes:
        settings: may be replaced at any time; holds for what comes afterwards.
        shares: likewise.
    """

    def __init__(
        self,
        executor: Executor,
        journal: Promises,
        settings: QueueSettings,
        metrics: QueueMetrics,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self.settings = settings
        self.shares = Shares(shares or {})
        self._executor = executor
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._wall_clock = wall_clock
        self._accepting = True
        self._service = service = ServiceTime()
        self._board = Board(journal, metrics, clock, executor.cancel, self.shares)
        self._door = Door(executor, self._board, service, clock)
        self._dispatcher = Dispatcher(
            executor,
            self._board,
            service,
            journal,
            metrics,
            lambda: self.settings.max_attempts,
            clock,
        )
        executor.subscribe(self._board.wake.set)

    # What intakes call

    async def submit(self, job: Job) -> Ticket:
        """Takes a job: it is in the journal when this returns.

        Cancelling this is as leaving the ticket: a promised job goes on.

        Raises:
            Draining: the daemon is stopping.
            NotReady: no worker is alive.
            QueueFull: as many jobs wait as may.
            DeadlineTooShort: it could not be done in time, by what jobs have been taking.
            KnownTask: its task id was accepted before.
            JournalUnavailable: the disk takes no writing now.
        """
        key = job.spec.key
        try:
            if not self._accepting:
                raise Draining("the miner is stopping and takes no new jobs")
            room, own = self._room(job.identity)
            self._door.check(job, key, room, own)
            member = self._board.member(job, key)
            await self._enter(member)
        except MinerError as error:
            self._metrics.job_refused(job.identity, error.code)
            raise
        return Ticket(job, member.told, lambda: self._board.leave(member))

    def attach(self, job_id: str) -> Ticket | None:
        """One more claim to a job that is here without its outcome, as after ``resume``.

        None where there is no such job: the journal knows what became of it.
        """
        member = self._board.ledger.members.get(job_id)
        if member is None:
            return None
        return Ticket(member.job, member.told, lambda: self._board.leave(member))

    def wait_seconds(self, priority: float = 0.0, identity: str = MAIN) -> float | None:
        """How long until one more job of this priority would begin, by what jobs have been taking.

        None while nothing is known of that.
        """
        return self._door.wait_seconds(identity, priority)

    def withdraw(self, job_id: str) -> bool:
        """Cancels a job, promised or not, waiting or running; False where there is none."""
        return self._board.withdraw(job_id)

    def snapshot(self) -> QueueSnapshot:
        """How it is now."""
        queued = self._board.queued_since()
        return QueueSnapshot(
            depth=self._board.queued,
            in_flight=len(self._board.running),
            accepting=self._accepting,
            service_seconds=self._door.typical_seconds(),
            oldest_seconds=self._clock() - min(queued) if queued else None,
            jobs=self._board.lines(),
        )

    def queued_of(self, identity: str) -> int:
        """How many jobs of an identity wait."""
        return self._board.queued_of(identity)

    # What the daemon calls

    async def run(self) -> None:
        """Begins jobs until cancelled; then whoever still waits is told that the daemon stops."""
        try:
            await self._dispatcher.run()
        finally:
            self._accepting = False
            self._board.abandon()
            await self._board.ledger.flush()

    def forget_service_times(self) -> None:
        """What jobs took says nothing of those to come: they are made in another way."""
        self._service.clear()

    async def resume(self) -> int:
        """Puts the promised jobs of earlier lives back, and returns how many.

        Those that are past their deadline or were begun too often get their failure, and so do
        those whose callers waited on a connection that the last life took with it.

        Raises:
            JournalUnavailable: the disk cannot be read.
        """
        resumed, failed = 0, 0
        for job, deadline_at in await self._journal.unfinished():
            if job.id in self._board.ledger:
                continue
            deadline = self._clock() + deadline_at - self._wall_clock()
            member = self._board.member(replace(job, deadline=deadline), job.spec.key)
            self._board.ledger.enter(member)
            failure = self._why_not_resume(member.job)
            if failure is not None:
                self._board.ledger.settle(member, failure)
                failed += 1
            else:
                self._board.insert(member)
                resumed += 1
        if resumed or failed:
            self._journal.event("resume", {"resumed": resumed, "failed": failed})
        await self._board.ledger.flush()
        return resumed

    async def drain(self, limit_seconds: float) -> None:
        """Refuses new jobs and waits for those accepted, at most so long.

        Then jobs whose callers wait get ``draining``, and promised ones stay in the journal for the
        next start. A second call waits likewise.
        """
        self._accepting = False
        ledger = self._board.ledger
        try:
            async with asyncio.timeout(limit_seconds):
                await ledger.emptied.wait()
        except TimeoutError:
            self._journal.event("drain", {"left": len(ledger.members)})
            self._board.abandon()
        await ledger.flush()

    def _room(self, identity: str) -> tuple[int, int]:
        """Jobs that may wait, and those of an identity: those that begin at once do not count."""
        begin = max(0, self._executor.capacity - self._dispatcher.handed)
        places = self.settings.max_depth
        return places + begin, self.shares.places(identity, places) + begin

    async def _enter(self, member: Member) -> None:
        self._board.ledger.expect(member.job)
        task = self._board.ledger.keep(self._accept(member))
        try:
            await asyncio.wait({task})  # being cancelled here does not cancel the task
        except asyncio.CancelledError:
            self._board.leave(member)
            raise
        task.result()

    async def _accept(self, member: Member) -> None:
        """The job is on disk before anything else happens to it."""
        left = member.job.deadline - self._clock()
        await self._board.ledger.accept(member, self._wall_clock() + left)
        self._board.insert(member)

    def _why_not_resume(self, job: Job) -> Failure | None:
        if not job.promised:
            return RESTARTED
        if job.deadline <= self._clock():
            return EXPIRED
        if job.attempts >= self.settings.max_attempts:
            ended = f"it was begun {job.attempts} times, and each time the worker or daemon ended"
            return Failure.of(WorkerLost(ended))
        return None

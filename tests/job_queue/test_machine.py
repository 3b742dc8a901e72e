"""The queue under anything in any order: bounded, ordered, and one outcome for each job."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from miner.errors import CapacityError, JournalUnavailable, OutOfMemory, WorkerLost
from miner.job import Failure, Job
from miner.job_queue import Ticket
from tests.job_queue.fakes import Bench, settle

MAX_DEPTH = 4
MAX_ATTEMPTS = 2
SHARES = {"alpha": 2.0, "beta": 0.5}
prompts = st.sampled_from(["a", "b", "c", ""])
picks = st.integers(0, 1000)
rarely = st.sampled_from([False] * 9 + [True])
times = st.sampled_from([1000.0, 1000.0, 1000.0, 50.0, 5.0, 0.0])


class QueueMachine(RuleBasedStateMachine):
    """Drives one queue in one event loop; at the end every accepted job is accounted for."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.tickets: dict[str, Ticket] = {}
        self.accepted: list[Job] = []
        self.drained = False
        self.disk_failed = False

    @initialize(workers=st.integers(1, 3))
    def start(self, workers: int) -> None:
        async def make() -> Bench:
            limits = {"max_depth": MAX_DEPTH, "max_attempts": MAX_ATTEMPTS}
            bench = Bench(workers, shares=SHARES, **limits)
            return await bench.__aenter__()

        self.bench = self.runner.run(make())

    async def _settled(self, call: Any = None, *values: object) -> None:
        if call is not None:
            call(*values)
        await settle()

    def act(self, call: Any = None, *values: object) -> None:
        self.runner.run(self._settled(call, *values))

    @rule(
        prompt=prompts,
        priority=st.sampled_from([0.0, 1.0]),
        time=times,
        promised=st.booleans(),
        identity=st.sampled_from([*SHARES, "of earlier settings"]),
    )
    def submit(
        self, prompt: str, priority: float, time: float, promised: bool, identity: str
    ) -> None:
        bench = self.bench
        due = {"deadline": bench.clock.now + time, "promised": promised}
        job = bench.job(prompt, priority=priority, identity=identity, **due)

        async def go() -> None:
            try:
                self.tickets[job.id] = await bench.queue.submit(job)
            except CapacityError:
                assert job.id not in bench.journal.jobs
            else:
                self.accepted.append(job)
                assert time > 0
                assert not self.drained
            await settle()

        self.runner.run(go())

    @rule(prompt=prompts, promised=st.booleans(), turns=st.integers(0, 4))
    def submit_and_hang_up(self, prompt: str, promised: bool, turns: int) -> None:
        bench = self.bench
        job = bench.job(prompt, promised=promised)

        async def go() -> None:
            task = asyncio.create_task(bench.queue.submit(job))
            await settle(turns)
            task.cancel()
            await asyncio.wait({task})
            await settle()
            if job.id in bench.journal.jobs:
                self.accepted.append(job)
                if not task.cancelled() and task.exception() is None:
                    self.tickets[job.id] = task.result()

        self.runner.run(go())

    @precondition(lambda self: self.bench.executor.running)
    @rule(pick=picks)
    def succeed(self, pick: int) -> None:
        self.act(self.bench.executor.succeed, self._one(list(self.bench.executor.running), pick))

    @precondition(lambda self: self.bench.executor.running)
    @rule(pick=picks, error=st.sampled_from([OutOfMemory("fit", "full"), ZeroDivisionError("bug")]))
    def fail(self, pick: int, error: Exception) -> None:
        job_id = self._one(list(self.bench.executor.running), pick)
        self.act(self.bench.executor.fail, job_id, error)

    @precondition(lambda self: self.bench.executor.running)
    @rule(pick=picks)
    def lose_a_worker(self, pick: int) -> None:
        job_id = self._one(list(self.bench.executor.running), pick)
        self.act(self.bench.executor.fail, job_id, WorkerLost("killed"))

    @precondition(lambda self: self.tickets)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        self.act(self._one(list(self.tickets.values()), pick).leave)

    @precondition(lambda self: self.accepted)
    @rule(pick=picks)
    def withdraw(self, pick: int) -> None:
        self.act(self.bench.queue.withdraw, self._one(self.accepted, pick).id)

    @rule(seconds=st.sampled_from([1.0, 5.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        self.runner.run(self.bench.later(seconds))

    @rule(dies=rarely)
    def workers_die_or_return(self, dies: bool) -> None:
        executor = self.bench.executor
        executor.alive = not dies
        self.act(executor.announce)

    @rule(fails=rarely)
    def disk_fails_or_heals(self, fails: bool) -> None:
        self.disk_failed = self.disk_failed or fails
        self.bench.journal.refuse = JournalUnavailable("full") if fails else None

    @precondition(lambda self: not self.drained)
    @rule(really=rarely)
    def drain(self, really: bool) -> None:
        if really:
            self.drained = True
            self.runner.run(self.bench.queue.drain(0.0))

    @invariant()
    def is_bounded(self) -> None:
        state = self.bench.queue.snapshot()
        executor = self.bench.executor
        assert state.depth <= MAX_DEPTH + executor.workers, "what was to begin at once may wait"
        assert state.in_flight <= executor.workers
        assert len(executor.running) <= executor.workers
        if not self.drained and executor.alive and state.in_flight < executor.workers:
            assert state.depth == 0, "capacity is used at once"

    @invariant()
    def equal_jobs_run_once(self) -> None:
        running = [job for job, future, _ in self.bench.executor.running.values()]
        wanted = [job.spec.key for job in running if job.id not in self.bench.executor.cancelled]
        assert len(set(wanted)) == len(wanted)

    @invariant()
    def waiting_jobs_are_ordered(self) -> None:
        waiting = list(self.bench.queue._board.waiting)
        for name in {name for generation in waiting for name in generation.identities}:
            orders = [one.order() for one in waiting if one.identities == {name}]
            assert orders == sorted(orders, reverse=True)

    @invariant()
    def each_has_one_outcome_or_a_place(self) -> None:
        there = {line.id for line in self.bench.queue.snapshot().jobs}
        outcomes = self.bench.journal.outcomes
        assert all(len(found) == 1 for found in outcomes.values())
        assert there.isdisjoint(outcomes)
        begun = [job.id for job in self.bench.executor.begun]
        assert all(begun.count(job_id) <= MAX_ATTEMPTS for job_id in begun)

    def teardown(self) -> None:
        """Stops at any moment: every accepted job has its outcome, or is promised and waits."""
        try:
            self.runner.run(self.bench.stop())
            self._all_accounted_for()
            self.runner.run(self._everybody_was_told())
        finally:
            self.runner.close()

    def _all_accounted_for(self) -> None:
        journal = self.bench.journal
        assert set(journal.jobs) == {job.id for job in self.accepted}
        if not self.disk_failed:
            left = {job.id for job in self.accepted if job.id not in journal.outcomes}
            assert all(job.promised for job in self.accepted if job.id in left)

    async def _everybody_was_told(self) -> None:
        for job_id, ticket in self.tickets.items():
            async with asyncio.timeout(60):
                told = await ticket.outcome()
            for written in self.bench.journal.outcomes.get(job_id, []):
                late = isinstance(told, Failure) and told.code == "deadline_exceeded"
                assert told == written or late
        assert len(self.bench.queue._board.ledger) == 0

    @staticmethod
    def _one(items: list[Any], pick: int) -> Any:
        return items[pick % len(items)]


def test_every_accepted_job_has_exactly_one_outcome() -> None:
    """Joins, retries, leaving, deadlines, dead workers, failing disks and drains, in any order."""
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

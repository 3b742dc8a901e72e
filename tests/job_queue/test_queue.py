"""The queue: who is taken, in which order, and what becomes of each."""

from __future__ import annotations

import asyncio

import pytest

from miner.errors import (
    BadImage,
    DeadlineTooShort,
    Draining,
    JobCancelled,
    JournalUnavailable,
    KnownTask,
    NotReady,
    OutOfMemory,
    QueueFull,
    WorkerLost,
)
from miner.job import Failure, Job
from tests.job_queue.fakes import Bench, MemoryJournal, an_asset, settle

LOST = WorkerLost("killed by signal 9")


def code(outcome: object) -> str:
    assert isinstance(outcome, Failure), outcome
    return outcome.code


async def test_a_job_goes_through() -> None:
    """It is in the journal when submit returns, then runs, then its ticket has the asset."""
    async with Bench() as bench:
        job = bench.job()
        ticket = await bench.queue.submit(job)
        assert bench.journal.jobs[job.id] == (job, bench.clock.wall() + 100.0)
        await settle()
        bench.executor.succeed(job.id)

        assert await ticket.outcome() == an_asset()
        assert await ticket.outcome() == an_asset()
        assert bench.journal.outcomes == {job.id: [an_asset()]}
        assert bench.metrics.seen["finished", "ok"] == 1
        assert bench.metrics.seen["stage", "encode"] == bench.metrics.seen["asset",] == 1


async def test_priority_then_deadline_then_arrival() -> None:
    """More stake goes first, then the nearer deadline, then whoever came first."""
    async with Bench() as bench:
        first = bench.job()
        await bench.queue.submit(first)
        await settle()
        late = bench.job(deadline=bench.clock.now + 99)
        early = bench.job(deadline=bench.clock.now + 50)
        equal = bench.job(deadline=bench.clock.now + 50)
        rich = bench.job(priority=5.0)
        for job in (late, early, equal, rich):
            await bench.queue.submit(job)
        for _ in range(5):
            bench.executor.succeed(next(iter(bench.executor.running)))
            await settle()

        begun = [job.id for job in bench.executor.begun]
        assert begun == [job.id for job in (first, rich, early, equal, late)]


async def test_as_many_run_as_the_executor_takes() -> None:
    """Capacity is used at once, and never exceeded."""
    async with Bench(workers=3) as bench:
        for _ in range(5):
            await bench.queue.submit(bench.job())
        await settle()

        assert len(bench.executor.running) == 3
        assert (bench.metrics.depth, bench.metrics.in_flight) == (2, 3)


async def test_it_is_bounded() -> None:
    """Beyond the depth jobs are refused, equal ones too, and one place freed is one job more."""
    async with Bench(max_depth=2) as bench:
        jobs = [bench.job("same") for _ in range(3)]
        for job in jobs:
            await bench.queue.submit(job)
        await settle()
        with pytest.raises(QueueFull):
            await bench.queue.submit(bench.job())
        with pytest.raises(QueueFull):
            await bench.queue.submit(bench.job("same"))
        assert bench.queue.withdraw(jobs[1].id)
        await bench.queue.submit(bench.job())

        assert bench.metrics.seen["refused", "queue_full"] == 2


async def test_jobs_on_the_way_to_the_disk_count() -> None:
    """A burst cannot get past the bound while the disk is busy."""
    bench = Bench(max_depth=2)
    bench.journal.gate = asyncio.Event()
    async with bench:
        tasks = [asyncio.create_task(bench.queue.submit(bench.job())) for _ in range(6)]
        await settle()
        bench.journal.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert [type(result) for result in results].count(QueueFull) == 3


async def test_no_worker_means_not_ready() -> None:
    """While no worker is alive nothing is accepted."""
    async with Bench() as bench:
        bench.executor.alive = False
        with pytest.raises(NotReady):
            await bench.queue.submit(bench.job())
        assert bench.journal.jobs == {}


async def test_equal_jobs_share_one_generation() -> None:
    """Equal specs run once, whether the first waits or runs; each has its own outcome."""
    async with Bench() as bench:
        first = bench.job("same")
        tickets = [await bench.queue.submit(first)]
        await settle()
        tickets.append(await bench.queue.submit(bench.job("same")))
        tickets.append(await bench.queue.submit(bench.job("same")))
        bench.executor.succeed(first.id)

        assert [await ticket.outcome() for ticket in tickets] == [an_asset()] * 3
        assert len(bench.executor.begun) == 1
        assert sorted(bench.journal.outcomes) == sorted(t.job.id for t in tickets)
        assert bench.metrics.seen["joined",] == 2
        assert bench.metrics.seen["asset",] == 1


async def test_a_joined_generation_is_as_urgent_as_its_most_urgent() -> None:
    """A rich validator lifts the equal job of a poor one; when it goes, the job sinks again."""
    async with Bench() as bench:
        running = bench.job()
        await bench.queue.submit(running)
        await settle()
        poor, middle = bench.job("same", priority=1.0), bench.job(priority=2.0)
        rich = bench.job("same", priority=3.0)
        for job in (poor, middle, rich):
            await bench.queue.submit(job)
        lifted = [line.id for line in bench.queue.snapshot().jobs]
        bench.queue.withdraw(rich.id)
        sunk = [line.id for line in bench.queue.snapshot().jobs]

        assert lifted == [running.id, poor.id, rich.id, middle.id]
        assert sunk == [running.id, middle.id, poor.id]


async def test_a_deadline_that_cannot_be_met_is_refused() -> None:
    """By the warm-up first, by real jobs once there are some, counting those ahead."""
    async with Bench() as bench:
        bench.executor.service_seconds_hint = 10.0
        with pytest.raises(DeadlineTooShort):
            await bench.queue.submit(bench.job(deadline=bench.clock.now + 9))
        job = bench.job()
        await bench.queue.submit(job)
        await settle()
        with pytest.raises(DeadlineTooShort):
            await bench.queue.submit(bench.job(deadline=bench.clock.now + 19))
        await bench.later(2.0)
        bench.executor.succeed(job.id)
        await settle()

        assert bench.queue.snapshot().service_seconds == 2.0
        await bench.queue.submit(bench.job(deadline=bench.clock.now + 3))
        with pytest.raises(DeadlineTooShort):
            await bench.queue.submit(bench.job(deadline=bench.clock.now + 3))
        with pytest.raises(DeadlineTooShort):
            await bench.queue.submit(bench.job(deadline=bench.clock.now))
        rich = bench.job(deadline=bench.clock.now + 5, priority=9.0)
        await bench.queue.submit(rich)


async def test_waiting_jobs_expire_without_gpu_time() -> None:
    """Past its deadline a waiting job fails, promised or not, and is never begun."""
    async with Bench() as bench:
        running = bench.job()
        await bench.queue.submit(running)
        await settle()
        tickets = [
            await bench.queue.submit(bench.job(deadline=bench.clock.now + 5, promised=promised))
            for promised in (False, True)
        ]
        await bench.later(5.0)

        assert [code(await ticket.outcome()) for ticket in tickets] == ["deadline_exceeded"] * 2
        bench.executor.succeed(running.id)
        await settle()
        assert [job.id for job in bench.executor.begun] == [running.id]


async def test_the_timer_rings_by_itself() -> None:
    """A deadline passes without anything else happening in the queue."""
    bench = Bench()
    async with bench:
        await bench.queue.submit(bench.job())
        await settle()
        ticket = await bench.queue.submit(bench.job(deadline=bench.clock.now + 0.005))
        bench.clock.now += 1.0

        assert code(await ticket.outcome()) == "deadline_exceeded"


async def test_a_running_job_that_is_late_ends_the_wait_only() -> None:
    """Its caller hears ``deadline_exceeded`` in time; the work ends in the journal."""
    async with Bench() as bench:
        job, promised = bench.job(), bench.job(promised=True)
        bench.executor.workers = 2
        ticket, other = await bench.queue.submit(job), await bench.queue.submit(promised)
        await settle()
        await bench.later(100.0)
        assert code(await ticket.outcome()) == "deadline_exceeded"
        bench.executor.succeed(job.id)
        bench.executor.succeed(promised.id)

        assert await other.outcome() == an_asset()
        assert bench.journal.outcomes[job.id] == [an_asset()]
        assert bench.metrics.seen["finished", "deadline_exceeded"] == 1
        assert bench.metrics.seen["finished", "ok"] == 1


async def test_what_has_too_little_time_left_is_dropped_when_its_turn_comes() -> None:
    """A job with less time than any was ever done in gets no GPU time."""
    async with Bench() as bench:
        for _ in range(2):
            job = bench.job()
            await bench.queue.submit(job)
            await settle()
            await bench.later(4.0)
            bench.executor.succeed(job.id)
            await settle()
        running = bench.job()
        await bench.queue.submit(running)
        await settle()
        ticket = await bench.queue.submit(bench.job(deadline=bench.clock.now + 10.0))
        await bench.later(7.0)
        bench.executor.succeed(running.id)

        assert code(await ticket.outcome()) == "deadline_exceeded"
        assert bench.executor.begun[-1].id == running.id


async def test_leaving_cancels_what_waits_and_lets_the_rest_finish() -> None:
    """Waiting work that nobody wants goes; running work ends in the journal; promises stay."""
    async with Bench() as bench:
        running, waiting = bench.job(), bench.job()
        promised = bench.job(promised=True)
        tickets = [await bench.queue.submit(job) for job in (running, waiting, promised)]
        await settle()
        for ticket in tickets:
            ticket.leave()
            ticket.leave()
        assert code(await tickets[1].outcome()) == "cancelled"
        bench.executor.succeed(running.id)
        await settle()
        bench.executor.succeed(promised.id)
        await settle()

        assert bench.journal.outcomes[running.id] == [an_asset()]
        assert bench.journal.outcomes[promised.id] == [an_asset()]
        assert bench.executor.cancelled == []


async def test_a_shared_job_goes_on_for_whoever_stays() -> None:
    """One of two callers leaves: the work is still begun for the other."""
    async with Bench() as bench:
        await bench.queue.submit(bench.job())
        await settle()
        leaving = await bench.queue.submit(bench.job("same"))
        staying = await bench.queue.submit(bench.job("same"))
        leaving.leave()
        bench.executor.succeed(bench.executor.begun[0].id)
        await settle()

        assert bench.executor.begun[-1].id == staying.job.id
        bench.executor.succeed(staying.job.id)
        assert await staying.outcome() == an_asset()
        assert code(await leaving.outcome()) == "cancelled"


async def test_a_caller_that_leaves_while_the_disk_writes() -> None:
    """Cancelling submit withdraws a job that waits on a connection, and not a promise."""
    async with Bench() as bench:
        bench.executor.occupied = 1
        bench.journal.gate = asyncio.Event()
        one_shot, promised = bench.job(), bench.job(promised=True)
        tasks = [asyncio.create_task(bench.queue.submit(job)) for job in (one_shot, promised)]
        await settle()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        bench.journal.gate.set()
        await settle()

        assert all(task.cancelled() for task in tasks)
        assert code(bench.journal.outcomes[one_shot.id][0]) == "cancelled"
        assert [line.id for line in bench.queue.snapshot().jobs] == [promised.id]


async def test_withdrawing() -> None:
    """A waiting or running job is cancelled by its id; an unknown or finished one is not there."""
    async with Bench() as bench:
        running, waiting = bench.job(), bench.job(promised=True)
        tickets = [await bench.queue.submit(job) for job in (running, waiting)]
        await settle()
        assert bench.queue.withdraw(waiting.id)
        assert bench.queue.withdraw(running.id)
        assert not bench.queue.withdraw(running.id)
        assert not bench.queue.withdraw("unknown")

        assert [code(await ticket.outcome()) for ticket in tickets] == ["cancelled"] * 2
        assert bench.executor.cancelled == [running.id]


async def test_nobody_joins_what_was_withdrawn() -> None:
    """An equal job that comes after a withdrawal has a generation of its own."""
    async with Bench() as bench:
        bench.executor.obeys_at_once = False
        first = bench.job("same")
        await bench.queue.submit(first)
        await settle()
        bench.queue.withdraw(first.id)
        second = bench.job("same")
        ticket = await bench.queue.submit(second)
        bench.executor.fail(first.id, JobCancelled("withdrawn"))
        await settle()
        bench.executor.succeed(second.id)

        assert await ticket.outcome() == an_asset()


async def test_a_lost_worker_costs_an_attempt() -> None:
    """The job goes to the front and is begun again; a second loss is its failure."""
    async with Bench(max_attempts=2) as bench:
        job, rich = bench.job(), bench.job(priority=9.0)
        ticket = await bench.queue.submit(job)
        await settle()
        await bench.queue.submit(rich)
        bench.executor.fail(job.id, LOST)
        await settle()
        assert [begun.id for begun in bench.executor.begun] == [job.id, job.id]
        assert bench.journal.attempts[job.id] == 2
        bench.executor.fail(job.id, LOST)

        assert code(await ticket.outcome()) == "worker_lost"
        assert bench.journal.events == ["worker_lost", "worker_lost"]
        await settle()
        assert bench.executor.begun[-1].id == rich.id


async def test_nobody_wants_it_again() -> None:
    """A lost job whose caller has left, or whose time is over, is not tried again."""
    async with Bench(workers=2) as bench:
        left, late = bench.job(), bench.job(deadline=bench.clock.now + 5)
        tickets = [await bench.queue.submit(job) for job in (left, late)]
        await settle()
        tickets[0].leave()
        await bench.later(5.0)
        for job in (left, late):
            bench.executor.fail(job.id, LOST)
        await settle()

        assert [code(bench.journal.outcomes[job.id][0]) for job in (left, late)] == [
            "worker_lost",
            "worker_lost",
        ]
        assert len(bench.executor.begun) == 2


async def test_handed_back_without_an_attempt() -> None:
    """An executor that takes nothing new gives the job back, and it keeps its attempts."""
    async with Bench(max_attempts=1) as bench:
        job = bench.job()
        ticket = await bench.queue.submit(job)
        await settle()
        bench.executor.alive = False
        bench.executor.fail(job.id, Draining("no"))
        await settle()
        assert bench.journal.attempts[job.id] == 0
        bench.executor.alive = True
        bench.executor.announce()
        await settle()
        bench.executor.succeed(job.id)

        assert await ticket.outcome() == an_asset()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemory("reconstruct", "no memory"), ("out_of_memory", 500)),
        (BadImage("not a picture"), ("bad_image", 400)),
        (ZeroDivisionError("private"), ("internal", 500)),
    ],
)
async def test_failures_have_their_code(error: Exception, expected: tuple[str, int]) -> None:
    """An error of our tree travels with its code and status; a mistake of ours tells nothing."""
    async with Bench() as bench:
        job = bench.job()
        ticket = await bench.queue.submit(job)
        await settle()
        bench.executor.fail(job.id, error)
        outcome = await ticket.outcome()

        assert isinstance(outcome, Failure)
        assert (outcome.code, outcome.status) == expected
        assert "private" not in outcome.message


async def test_a_task_that_is_known_is_refused() -> None:
    """The journal's refusal comes out of submit, and nothing is queued."""
    async with Bench() as bench:
        await bench.queue.submit(bench.job(task_id="t"))
        with pytest.raises(KnownTask):
            await bench.queue.submit(bench.job(task_id="t"))
        await settle()

        assert len(bench.queue.snapshot().jobs) == 1


async def test_a_failing_disk_refuses_new_jobs_and_answers_old_ones() -> None:
    """What is made is told although it cannot be written; nothing new is promised."""
    async with Bench() as bench:
        job = bench.job()
        ticket = await bench.queue.submit(job)
        await settle()
        bench.journal.refuse = JournalUnavailable("full")
        with pytest.raises(JournalUnavailable):
            await bench.queue.submit(bench.job())
        bench.executor.succeed(job.id)

        assert await ticket.outcome() == an_asset()


async def test_a_hanging_disk_does_not_hold_a_reply_past_its_deadline() -> None:
    """What exists is told at the deadline, whatever the disk does."""
    async with Bench() as bench:
        job = bench.job()
        ticket = await bench.queue.submit(job)
        await settle()
        bench.journal.gate = asyncio.Event()
        bench.executor.succeed(job.id)
        await settle()
        waiting = asyncio.create_task(ticket.outcome())
        await settle()
        assert not waiting.done()
        await bench.later(100.0)

        assert await waiting == an_asset()
        bench.journal.gate.set()


async def test_draining_waits_for_what_was_accepted() -> None:
    """New jobs are refused, old ones finish, then it returns; a second call returns too."""
    async with Bench() as bench:
        job = bench.job()
        ticket = await bench.queue.submit(job)
        await settle()
        drain = asyncio.create_task(bench.queue.drain(1000.0))
        await settle()
        assert not bench.queue.snapshot().accepting
        with pytest.raises(Draining):
            await bench.queue.submit(bench.job())
        assert not drain.done()
        bench.executor.succeed(job.id)
        await drain
        await bench.queue.drain(0.0)

        assert await ticket.outcome() == an_asset()


async def test_what_a_drain_does_not_finish() -> None:
    """After the limit one-shot jobs get ``draining``; promised ones stay for the next start."""
    async with Bench() as bench:
        running, waiting = bench.job(promised=True), bench.job()
        promised = bench.job(promised=True)
        tickets = [await bench.queue.submit(job) for job in (running, waiting, promised)]
        await settle()
        await bench.queue.drain(0.0)

        assert [code(await ticket.outcome()) for ticket in tickets] == ["draining"] * 3
        assert list(bench.journal.outcomes) == [waiting.id]
        assert bench.journal.attempts == {running.id: 0, waiting.id: 0, promised.id: 0}
        assert bench.executor.cancelled == [running.id]
        assert bench.queue.snapshot().jobs == ()


async def test_promises_survive_the_daemon() -> None:
    """A new queue takes them up with what is left of their time; the rest have their failure."""
    journal = MemoryJournal()
    async with Bench(journal=journal) as bench:
        jobs = {
            "promised": bench.job(promised=True),
            "expired": bench.job(promised=True, deadline=bench.clock.now + 10),
            "worn": bench.job(promised=True, attempts=2),
            "one_shot": bench.job(),
        }
        for job in jobs.values():
            await journal.accept(job, bench.clock.wall() + job.deadline - bench.clock.now)

    successor = Bench(journal=journal, max_attempts=2)
    successor.clock.now = 5.0
    successor.clock.wall = lambda: bench.clock.wall() + 20  # type: ignore[method-assign]
    successor.queue._wall_clock = successor.clock.wall
    async with successor:
        assert await successor.queue.resume() == 1
        await settle()
        [begun] = successor.executor.begun
        assert begun.id == jobs["promised"].id
        assert begun.deadline == pytest.approx(5.0 + 80.0)
        assert await successor.queue.resume() == 0
        successor.executor.succeed(begun.id)
        await settle()

    codes = {name: journal.outcomes[job.id] for name, job in jobs.items()}
    assert codes.pop("promised") == [an_asset()]
    assert {name: code(found[0]) for name, found in codes.items()} == {
        "expired": "deadline_exceeded",
        "worn": "worker_lost",
        "one_shot": "cancelled",
    }


async def test_a_stop_leaves_nobody_waiting() -> None:
    """When run is cancelled, one-shot jobs are told, promised ones keep their attempts."""
    async with Bench(workers=2) as bench:
        jobs = [bench.job(), bench.job(promised=True), bench.job(), bench.job(promised=True)]
        tickets = [await bench.queue.submit(job) for job in jobs]
        await settle()
        await bench.stop()

        assert [code(await ticket.outcome()) for ticket in tickets] == ["draining"] * 4
        assert sorted(bench.journal.outcomes) == [jobs[0].id, jobs[2].id]
        assert bench.journal.attempts[jobs[1].id] == 0
        with pytest.raises(Draining):
            await bench.queue.submit(bench.job())


async def test_a_snapshot_tells_how_it_is() -> None:
    """Depth, age, and of each job its state and progress."""
    async with Bench() as bench:
        running, waiting = bench.job(), bench.job()
        await bench.queue.submit(running)
        await settle()
        await bench.queue.submit(waiting)
        bench.executor.progress(running.id, "text_to_image", 1, 4)
        await bench.later(3.0)
        state = bench.queue.snapshot()

        assert (state.depth, state.in_flight, state.accepting) == (1, 1, True)
        assert state.oldest_seconds == 3.0
        assert state.service_seconds is None
        assert [(j.id, j.state, j.stage, j.steps) for j in state.jobs] == [
            (running.id, "running", "text_to_image", (1, 4)),
            (waiting.id, "queued", None, None),
        ]


async def test_settings_may_change() -> None:
    """A new depth holds from the next job on."""
    async with Bench(max_depth=1) as bench:
        for _ in range(2):
            await bench.queue.submit(bench.job())
            await settle()
        bench.queue.settings = bench.settings.model_copy(update={"max_depth": 2})
        await bench.queue.submit(bench.job())


async def test_a_thousand_jobs_leave_nothing_behind() -> None:
    """Memory of finished jobs, their results included, is let go although deadlines are far."""
    async with Bench(workers=4) as bench:

        async def one() -> None:
            ticket = await bench.queue.submit(bench.job())
            await settle()
            bench.executor.succeed(ticket.job.id)
            await ticket.outcome()

        for _ in range(250):
            await asyncio.gather(*(one() for _ in range(4)))
        await settle()

        board = bench.queue._board
        assert len(board.ledger) == len(board.waiting) == len(board.running) == 0
        assert len(board._deadlines) < 100
        assert board._generations == {}
        assert isinstance(bench.executor.begun[0], Job)

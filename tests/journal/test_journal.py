"""The journal: what was accepted, what became of it, and what survives."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from miner.errors import JournalError, JournalUnavailable, KnownTask
from miner.job import MAIN, JobSpec
from miner.journal import Journal, SweepReport
from tests.journal.samples import FAILURE, SETTINGS, Clock, a_job, an_asset

ROOT = Path(__file__).parents[2]


async def test_a_job_comes_back_as_it_was_accepted(tmp_path: Path) -> None:
    """After a restart the unfinished jobs are all there, in order, with their deadlines."""
    first = a_job(priority=2.5, promised=True, task_id="t-1")
    second = a_job(spec=JobSpec(image=b"\x89PNG", seed=2**63 - 1, format="spz"))
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        await journal.accept(first, 50.0)
        await journal.accept(second, math.inf)
        journal.begin(first.id, 1)

    async with await Journal.open(tmp_path, SETTINGS) as journal:
        found = await journal.unfinished()

    assert found == [
        (replace(first, deadline=math.inf, attempts=1), 50.0),
        (replace(second, deadline=math.inf), math.inf),
    ]


async def test_a_record_tells_the_whole_story(tmp_path: Path) -> None:
    """Each step of a job shows in its record, with its time."""
    clock = Clock(1000.0)
    job, asset = a_job(task_id="t-2"), an_asset()
    async with await Journal.open(tmp_path, SETTINGS, clock) as journal:
        await journal.accept(job, 1100.0)
        queued = await journal.find(job.id)
        clock.now = 1001.0
        journal.begin(job.id, 1)
        running = await journal.find(job.id)
        clock.now = 1002.0
        await journal.finish(job.id, asset)
        clock.now = 1003.0
        journal.deliver(job.id)
        done = await journal.find_task(MAIN, "t-2")

        assert queued is not None
        assert running is not None
        assert done is not None
        assert (queued.state, queued.accepted_at, queued.spec_key) == (
            "queued",
            1000.0,
            job.spec.key,
        )
        assert (running.state, running.begun_at, running.attempts) == ("running", 1001.0, 1)
        assert (done.state, done.finished_at, done.delivered_at) == ("done", 1002.0, 1003.0)
        assert (done.generator, done.gaussians, done.bytes) == ("triposr", 12, 5)
        assert done.timings == asset.timings
        assert done.kept
        assert await journal.asset(job.id) == asset


async def test_the_first_outcome_counts(tmp_path: Path) -> None:
    """A second outcome, of whichever kind, changes nothing."""
    failed, made = a_job(), a_job()
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        for job in (failed, made):
            await journal.accept(job, 1.0)
        await journal.finish(failed.id, FAILURE)
        await journal.finish(made.id, an_asset())
        before = [await journal.find(job.id) for job in (failed, made)]
        await journal.finish(failed.id, an_asset())
        await journal.finish(made.id, FAILURE)
        await journal.finish(made.id, an_asset(b"another"))
        journal.begin(made.id, 2)
        journal.put_back(failed.id, 0)

        assert [await journal.find(job.id) for job in (failed, made)] == before
        assert before[0] is not None
        assert (before[0].code, before[0].status) == ("worker_lost", 500)
        assert await journal.asset(made.id) == an_asset()
        assert await journal.asset(failed.id) is None
        assert await journal.unfinished() == []
        assert journal.stats.results == 1


async def test_a_task_id_belongs_to_its_first_job(tmp_path: Path) -> None:
    """A second job of a known task is refused and leaves no trace; others pass beside it."""
    first, second, other = a_job(task_id="t"), a_job(task_id="t"), a_job(task_id="u")
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        results = await asyncio.gather(
            *(journal.accept(job, 1.0) for job in (first, second, other)), return_exceptions=True
        )

        assert [type(result) for result in results] == [type(None), KnownTask, type(None)]
        assert [job.id for job, _ in await journal.unfinished()] == [first.id, other.id]
        assert journal.stats.jobs == journal.stats.unfinished == 2


async def test_a_result_is_found_for_the_same_requester_and_spec(tmp_path: Path) -> None:
    """Neither another hotkey's result nor another spec's is given out."""
    job = a_job()
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        await journal.accept(job, 1.0)
        assert await journal.find_result(MAIN, "5Hot", job.spec.key) is None
        await journal.finish(job.id, an_asset())

        found = await journal.find_result(MAIN, "5Hot", job.spec.key)
        assert found is not None
        assert found.id == job.id
        assert await journal.find_result(MAIN, "5Other", job.spec.key) is None
        assert await journal.find_result(MAIN, "5Hot", JobSpec(prompt="a blue chair").key) is None


async def test_equal_results_are_kept_once(tmp_path: Path) -> None:
    """Jobs that shared a generation share the bytes of its result, each with its own record."""
    jobs = [a_job() for _ in range(3)]
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        for job in jobs:
            await journal.accept(job, 1.0)
        await asyncio.gather(*(journal.finish(job.id, an_asset()) for job in jobs))

        assert [await journal.asset(job.id) for job in jobs] == [an_asset()] * 3
        assert journal.stats.results == 1
        assert journal.stats.result_bytes == len(an_asset().data)


async def test_what_is_pending_together_is_one_commit(tmp_path: Path) -> None:
    """A hundred jobs accepted at once cost a few syncs of the disk, not a hundred."""
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        await asyncio.gather(*(journal.accept(a_job(), 1.0) for _ in range(100)))

        assert journal.stats.commits <= 10
        assert journal.stats.operations == 100


async def test_nonces_facts_and_events_survive(tmp_path: Path) -> None:
    """Of a key the highest nonce is kept; expired ones go; facts are replaced; events pile up."""
    async with await Journal.open(tmp_path, SETTINGS, Clock(5.0)) as journal:
        journal.remember_nonce("a", 10, 100.0)
        journal.remember_nonce("a", 9, 90.0)
        journal.remember_nonce("b", 2**63 - 1, 50.0)
        journal.remember_nonce("c", 1, 10.0)
        journal.forget_nonces(50.0)
        journal.set_state("breaker", "closed")
        journal.set_state("breaker", "open")
        journal.event("rollback", {"why": "slow", "at": Path("x")})

    async with await Journal.open(tmp_path, SETTINGS) as journal:
        assert sorted(await journal.nonces()) == [("a", 10, 100.0), ("b", 2**63 - 1, 50.0)]
        assert await journal.state("breaker") == "open"
        assert await journal.state("nothing") is None
        [event] = await journal.events()
        assert (event.at, event.kind, event.detail) == (5.0, "rollback", {"why": "slow", "at": "x"})


async def test_results_and_records_go_by_age(tmp_path: Path) -> None:
    """Delivered results go first, then unfetched ones, then records; the unfinished never."""
    clock = Clock(0.0)
    delivered, unfetched, failed, waiting = (a_job() for _ in range(4))
    async with await Journal.open(tmp_path, SETTINGS, clock) as journal:
        for job in (delivered, unfetched, failed, waiting):
            await journal.accept(job, 1.0)
        await journal.finish(delivered.id, an_asset(b"one"))
        await journal.finish(unfetched.id, an_asset(b"three"))
        await journal.finish(failed.id, FAILURE)
        journal.deliver(delivered.id)

        clock.now = SETTINGS.keep_delivered_seconds - 1
        assert await journal.sweep() == SweepReport()
        clock.now = SETTINGS.keep_delivered_seconds
        assert await journal.sweep() == SweepReport(results=1, result_bytes=3)
        assert await journal.asset(delivered.id) is None
        clock.now = SETTINGS.keep_results_seconds
        assert await journal.sweep() == SweepReport(results=1, result_bytes=5)
        record = await journal.find(unfetched.id)
        assert record is not None
        assert (record.state, record.kept, record.bytes) == ("done", False, 5)
        clock.now = SETTINGS.keep_jobs_seconds
        assert await journal.sweep() == SweepReport(jobs=3)
        assert [job.id for job, _ in await journal.unfinished()] == [waiting.id]
        assert (journal.stats.jobs, journal.stats.results, journal.stats.result_bytes) == (1, 0, 0)


async def test_a_shared_result_stays_while_one_job_needs_it(tmp_path: Path) -> None:
    """Bytes that answer two jobs go when they have expired for both."""
    clock = Clock(0.0)
    fetched, unfetched = a_job(), a_job()
    async with await Journal.open(tmp_path, SETTINGS, clock) as journal:
        for job in (fetched, unfetched):
            await journal.accept(job, 1.0)
            await journal.finish(job.id, an_asset())
        journal.deliver(fetched.id)
        clock.now = SETTINGS.keep_results_seconds - 1

        assert await journal.sweep() == SweepReport()
        assert await journal.asset(unfetched.id) == an_asset()


async def test_the_oldest_results_make_room(tmp_path: Path) -> None:
    """All results together stay under the limit; the jobs of those that went stay done."""
    settings = SETTINGS.model_copy(update={"max_result_bytes": 250})
    clock = Clock(0.0)
    jobs = [a_job() for _ in range(4)]
    async with await Journal.open(tmp_path, settings, clock) as journal:
        for number, job in enumerate(jobs):
            clock.now = float(number)
            await journal.accept(job, 1.0)
            await journal.finish(job.id, an_asset(bytes([number]) * 100))
        large = a_job()
        kept = [await journal.asset(job.id) is not None for job in jobs]
        await journal.accept(large, 1.0)
        await journal.finish(large.id, an_asset(b"x" * 1000))

        assert kept == [False, False, True, True]
        assert await journal.asset(large.id) is not None, "alone it may be over the limit"
        assert journal.stats.results == 1


async def test_one_daemon_at_a_time(tmp_path: Path) -> None:
    """While a journal is open its folder is refused to others; closed, it is free."""
    async with await Journal.open(tmp_path, SETTINGS):
        with pytest.raises(JournalError, match="in use by a running daemon"):
            await Journal.open(tmp_path, SETTINGS)
    await (await Journal.open(tmp_path, SETTINGS)).close()


async def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    """After the end nothing hangs: awaits fail, posts are dropped, closing again is harmless."""
    journal = await Journal.open(tmp_path, SETTINGS)
    await journal.close()
    await journal.close()
    journal.event("late", {})

    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.find("x")
    assert not (tmp_path / "journal.db-wal").exists()


async def test_cancelling_the_wait_keeps_the_order(tmp_path: Path) -> None:
    """Whoever stops waiting for a write neither undoes it nor harms the others."""
    job = a_job()
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        task = asyncio.create_task(journal.accept(job, 1.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await journal.find(job.id) is not None


KILLED = """
import asyncio, os, sys
from pathlib import Path
from miner.journal import Journal
from tests.journal.samples import SETTINGS, a_job, an_asset

async def main():
    journal = await Journal.open(Path(sys.argv[1]), SETTINGS)
    async def one():
        while True:
            job = a_job()
            journal.remember_nonce(job.id, 1, 1.0)
            await journal.accept(job, 1.0)
            os.write(1, f"accepted {job.id}\\n".encode())
            await journal.finish(job.id, an_asset(job.id.encode()))
            os.write(1, f"finished {job.id}\\n".encode())
    await asyncio.gather(*(one() for _ in range(8)))

asyncio.run(main())
"""


async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After kill -9 under load every acknowledged accept, finish and earlier nonce is there."""
    with subprocess.Popen(  # noqa: ASYNC220 - it is to be killed, and nothing else runs here
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(400)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    told = [line.decode().split() for line in lines if line.endswith(b"\n")]

    async with await Journal.open(tmp_path, SETTINGS) as journal:
        nonces = {key for key, _, _ in await journal.nonces()}
        for what, job_id in told:
            record = await journal.find(job_id)
            assert record is not None
            assert job_id in nonces
            if what == "finished":
                assert await journal.asset(job_id) == an_asset(job_id.encode())


def test_a_journal_left_open_does_not_hold_up_the_process(tmp_path: Path) -> None:
    """A process that forgets to close its journal ends all the same."""
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom miner.journal import Journal\n"
        "from tests.journal.samples import SETTINGS\n"
        "asyncio.run(Journal.open(Path(sys.argv[1]), SETTINGS))\nprint('end')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert (done.stdout, json.dumps(done.stderr)) == ("end\n", '""')

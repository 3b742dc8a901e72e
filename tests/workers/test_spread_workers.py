"""Workers that hold one generator each: who gets a job, and who has it when one fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from miner.errors import DeadlineExceeded, JobCancelled, StageError, WorkerLost
from miner.job import Asset, Job, Plan
from tests.fakes.workers import Workers, job, until, workers

SPREAD = {"triposr": 3, "dreamgaussian": 1}
BACK = Plan("triposr", "dreamgaussian")


def spread(
    folder: Path, count: int, engine: str = "Holding"
) -> AbstractAsyncContextManager[Workers]:
    return workers(engine, folder, count=count, spread=SPREAD)


async def all_ready(made: Workers, count: int) -> None:
    await until(lambda: made.executor.slots == count)


def planned(plan: Plan) -> Job:
    return replace(job(), plan=plan)


def by(asset: Asset) -> tuple[str, int]:
    """What made it, and the process."""
    name, pid = asset.data.decode().split()
    return name, int(pid)


def pids(made: Workers, name: str) -> set[int | None]:
    return {one.pid for one in made.executor.health().workers if list(one.generators) == [name]}


async def test_jobs_reach_only_workers_that_hold_their_generator(tmp_path: Path) -> None:
    """Three hold one, one the other; a job without a name, or with a strange one, goes to any."""
    async with spread(tmp_path, 4) as made:
        await all_ready(made, 4)
        names = ["triposr", "dreamgaussian"] * 10 + ["", "strange"] * 4
        assets = await asyncio.gather(
            *(made.executor.submit(planned(Plan(name))) for name in names)
        )
        done = [by(asset) for asset in assets]
        homes = {name: pids(made, name) for name in SPREAD}
        slots = {name: made.executor.slots_for(name) for name in (*SPREAD, "strange")}
        hints = [made.executor.seconds_hint_for(name) for name in SPREAD]

    assert [name for name, _ in done[:20]] == names[:20]
    assert all(pid in homes[name] for name, pid in done)
    assert slots == {"triposr": 3, "dreamgaussian": 1, "strange": 4}
    assert hints == [0.25, 8.0]


async def test_capacity_is_of_the_generator_asked_for(tmp_path: Path) -> None:
    """A busy worker of one takes nothing from the capacity for the other."""
    async with spread(tmp_path, 2) as made:
        await all_ready(made, 2)
        (tmp_path / "held triposr").touch()
        work = asyncio.create_task(made.executor.submit(planned(Plan("triposr"))))
        await until((tmp_path / "begun triposr").exists)
        busy = [made.executor.capacity_for(name) for name in (*SPREAD, "strange")]
        (tmp_path / "held triposr").unlink()
        await work

        assert busy == [0, 1, 1]
        assert made.executor.capacity == 2


async def test_what_fails_on_one_is_begun_again_on_the_other(tmp_path: Path) -> None:
    """The asset says who made it and why, as where one worker holds both."""
    async with spread(tmp_path, 2) as made:
        await all_ready(made, 2)
        (tmp_path / "broken triposr").touch()
        asset = await made.executor.submit(planned(BACK))

    assert (asset.generator, asset.cause) == ("dreamgaussian", "exception")


async def test_where_one_holds_both_it_keeps_the_job(tmp_path: Path) -> None:
    """The fallback inside a worker stays there: both pieces of work have one process."""
    async with workers("Holding", tmp_path, count=2) as made:
        await all_ready(made, 2)
        (tmp_path / "broken triposr").touch()
        (tmp_path / "broken dreamgaussian").touch()
        with pytest.raises(StageError):
            await made.executor.submit(planned(BACK))
        (tmp_path / "broken dreamgaussian").unlink()
        asset = await made.executor.submit(planned(BACK))

    assert (asset.generator, asset.cause) == ("dreamgaussian", "exception")


@pytest.mark.parametrize(
    "plan",
    [
        Plan("triposr"),
        Plan("triposr", "strange"),
        Plan("triposr", "dreamgaussian", seconds=3.0, least_seconds=4.0),
    ],
    ids=["held by hand", "held by nobody", "too late"],
)
async def test_what_fails_and_has_nowhere_to_go_has_failed(tmp_path: Path, plan: Plan) -> None:
    """Without a fallback, a worker for it, or the time that it needs, the failure stands."""
    async with spread(tmp_path, 2) as made:
        await all_ready(made, 2)
        (tmp_path / "broken triposr").touch()
        with pytest.raises(StageError, match="broken by the test"):
            await made.executor.submit(planned(plan))

    assert not (tmp_path / "begun dreamgaussian").exists()


async def test_a_lost_worker_is_the_queue_s_business(tmp_path: Path) -> None:
    """A job that costs a worker its life is an attempt, wherever it is tried again."""
    async with spread(tmp_path, 2) as made:
        await all_ready(made, 2)
        (tmp_path / "broken triposr").write_text("dead")
        with pytest.raises(WorkerLost):
            await made.executor.submit(planned(BACK))


async def test_a_killed_worker_keeps_its_generator(tmp_path: Path) -> None:
    """Its successor holds the same; meanwhile nobody does, and its jobs go to whom there is."""
    async with spread(tmp_path, 2) as made:
        await all_ready(made, 2)
        (old,) = pids(made, "dreamgaussian")
        os.kill(old or 0, signal.SIGKILL)
        await until(lambda: made.executor.generators == ("triposr",))
        stand_in = await made.executor.submit(planned(Plan("dreamgaussian")))
        await all_ready(made, 2)
        (new,) = pids(made, "dreamgaussian")
        own = await made.executor.submit(planned(Plan("dreamgaussian")))

    assert stand_in.generator == "triposr"
    assert new != old
    assert by(own) == ("dreamgaussian", new)


async def test_a_reload_keeps_each_worker_s_share(tmp_path: Path) -> None:
    """Without and with new settings as many hold each as before, in new processes."""
    async with spread(tmp_path, 3) as made:
        await all_ready(made, 3)
        before = {name: pids(made, name) for name in SPREAD}
        await made.executor.reload()
        between = {name: pids(made, name) for name in SPREAD}
        await made.executor.reload(made.settings)
        after = {name: pids(made, name) for name in SPREAD}

    for shares in (before, between, after):
        assert {name: len(found) for name, found in shares.items()} == {
            "triposr": 2,
            "dreamgaussian": 1,
        }
    pieces = [pid for shares in (before, between, after) for ids in shares.values() for pid in ids]
    assert len(set(pieces)) == 9


async def test_a_job_waits_for_its_generator_no_longer_than_it_may(tmp_path: Path) -> None:
    """While the only worker is busy one gives up at its time's end, and one is cancelled."""
    async with spread(tmp_path, 2) as made:
        await all_ready(made, 2)
        (tmp_path / "held dreamgaussian").touch()
        first = asyncio.create_task(made.executor.submit(planned(Plan("dreamgaussian"))))
        await until((tmp_path / "begun dreamgaussian").exists)
        withdrawn = planned(Plan("dreamgaussian", seconds=60.0))
        second = asyncio.create_task(made.executor.submit(withdrawn))
        with pytest.raises(DeadlineExceeded):
            await made.executor.submit(planned(Plan("dreamgaussian", seconds=0.05)))
        made.executor.cancel(withdrawn.id)
        with pytest.raises(JobCancelled):
            await second
        (tmp_path / "held dreamgaussian").unlink()

        assert (await first).generator == "dreamgaussian"


async def test_what_is_announced_is_what_a_walk_finds(tmp_path: Path) -> None:
    """Under jobs, deaths and replacements no announcement leaves capacity or slots behind."""
    wrong: list[tuple[int, int]] = []
    async with spread(tmp_path, 3) as made:
        executor = made.executor

        def compare() -> None:
            walked = sum(one.capacity for one in executor.supervisors)
            if executor.capacity != walked:
                wrong.append((executor.capacity, walked))

        executor.subscribe(compare)
        await all_ready(made, 3)
        jobs = [
            asyncio.create_task(executor.submit(planned(Plan(name))))
            for name in [*SPREAD, "", "strange"] * 20
        ]
        await until(lambda: sum(one.done() for one in jobs) > 10)
        os.kill(made.pid or 0, signal.SIGKILL)
        await executor.reload()
        ends = await asyncio.gather(*jobs, return_exceptions=True)
        await all_ready(made, 3)
        compare()

    assert not wrong
    kinds = Counter(type(one) for one in ends)
    assert kinds[Asset] + kinds[WorkerLost] == len(jobs)


async def test_equal_workers_take_turns(tmp_path: Path) -> None:
    """Jobs one after the other go round, so that no card has all the work."""
    async with spread(tmp_path, 3) as made:
        await all_ready(made, 3)
        done = [by(await made.executor.submit(planned(Plan("triposr")))) for _ in range(4)]

    assert len({pid for _, pid in done}) == 2

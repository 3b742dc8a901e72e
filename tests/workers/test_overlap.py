"""Jobs in parts, each on its own thread of a worker process. The processes are real."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from miner.errors import JobCancelled, StageError, WorkerLost
from miner.job import JobSpec, Plan
from miner.settings import Settings, WorkerSettings, load_settings
from miner.workers.flights import MAX_FINISHING, Flights
from miner.workers.local_executor import LocalExecutor
from miner.workers.work import Work
from tests.fakes.workers import Metrics, Time, job, until, workers


async def test_the_next_job_begins_while_a_surface_is_made(tmp_path: Path) -> None:
    """The device's thread has the second job, and another thread the first one's surface."""
    (tmp_path / "held").touch()
    async with workers("Dividing", tmp_path) as made:
        both = [made.begin("first"), made.begin("second")]
        await until((tmp_path / "begun second").exists)
        (tmp_path / "held").unlink()
        events = (await asyncio.gather(*both))[1].decode().splitlines()

    assert sorted(events[:3]) == [
        "begun first MainThread",
        "begun second MainThread",
        "surface first surface",
    ]
    assert events[3:] == [
        "finished first surface",
        "surface second surface",
        "finished second surface",
    ]


async def test_at_most_one_job_waits_for_its_surface(tmp_path: Path) -> None:
    """The third keeps the device until the second has left its place, so no fourth begins."""
    (tmp_path / "held").touch()
    async with workers("Dividing", tmp_path) as made:
        jobs = [made.begin(name) for name in ("one", "two", "three", "four")]
        await until((tmp_path / "begun three").exists)
        capacity, states = made.executor.capacity, made.executor.health().workers[0].state
        (tmp_path / "held").unlink()
        events = [line.rpartition(" ")[0] for line in (await jobs[3]).decode().splitlines()]
        await asyncio.gather(*jobs)

    assert (capacity, states) == (0, "busy")
    assert events.index("begun four") > events.index("finished one")
    order = [event for event in events if event.startswith("finished")]
    assert order == ["finished one", "finished two", "finished three", "finished four"]


async def test_a_failed_surface_goes_back_to_the_device(tmp_path: Path) -> None:
    """What takes over runs on the device's thread, and the job has that one answer."""
    async with workers("Dividing", tmp_path) as made:
        events = (await made.make("failing and saved")).decode().splitlines()
        after = await made.make("next")

    assert events == [
        "begun failing and saved MainThread",
        "surface failing and saved surface",
        "again failing and saved MainThread",
    ]
    assert after.endswith(b"finished next surface")


async def test_a_job_back_on_the_device_leaves_no_capacity(tmp_path: Path) -> None:
    """The daemon hears of it, so that the next job goes to another worker, or waits where it can be
    withdrawn; and told again when the device is free."""
    (tmp_path / "held again").touch()
    async with workers("Dividing", tmp_path) as made:
        work = made.begin("failing and saved")
        await until((tmp_path / "again failing and saved").exists)
        await until(lambda: made.executor.capacity == 0)
        (tmp_path / "held again").unlink()
        await work
        await until(lambda: made.executor.capacity == 1)


async def test_a_failure_costs_the_next_job_nothing(tmp_path: Path) -> None:
    """The job fails as its stage says, beside another one that does not."""
    (tmp_path / "held").touch()
    async with workers("Dividing", tmp_path) as made:
        pid, failing, other = made.pid, made.begin("failing"), made.begin("other")
        await until((tmp_path / "begun other").exists)
        (tmp_path / "held").unlink()
        with pytest.raises(StageError, match="surface: broken by the test"):
            await failing
        assert (await other).endswith(b"finished other surface")
        await until(lambda: made.executor.capacity == 1)

        assert made.pid == pid


async def test_a_job_is_cancelled_while_it_waits_for_its_surface(tmp_path: Path) -> None:
    """It has no surface, and the worker goes on."""
    (tmp_path / "held").touch()
    async with workers("Dividing", tmp_path) as made:
        first, wanted = made.begin("first"), job("waiting")
        waiting = asyncio.create_task(made.executor.submit(wanted))
        await until((tmp_path / "begun waiting").exists)
        made.executor.cancel(wanted.id)
        third = made.begin("third")
        await until((tmp_path / "begun third").exists)  # messages come in order
        (tmp_path / "held").unlink()
        with pytest.raises(JobCancelled):
            await waiting
        await first
        events = (await third).decode()

    assert "surface waiting" not in events
    assert events.endswith("finished third surface")


async def test_a_device_that_breaks_under_a_surface_costs_the_worker(tmp_path: Path) -> None:
    """Its jobs are lost, for others to do, and another process takes the next."""
    async with workers("Dividing", tmp_path) as made:
        pid = made.pid
        with pytest.raises(WorkerLost):
            await made.make("breaking")
        (tmp_path / "again breaking").unlink()
        answer = await made.make("next")

        assert made.metrics.restarts["broken"] == 1
        assert made.pid != pid
    assert answer.endswith(b"finished next surface")


async def test_shortages_of_a_surface_are_told_with_it(tmp_path: Path) -> None:
    """Not only with the next job, which may be long in coming."""
    async with workers("Dividing", tmp_path) as made:
        await made.make("short of memory")

        assert made.metrics.shortages == [("surface", True)]


async def test_a_job_back_on_the_device_takes_it() -> None:
    """No other is begun until it leaves it again."""
    flights = Flights()
    flight = flights.begin(job(), None, 0.0)
    flight.on_device = False
    there_was = flights.room
    flight.on_device = True

    assert there_was
    assert not flights.room
    assert flights.current is flight


async def test_each_thread_of_a_worker_may_have_a_job() -> None:
    """With one encoded, one at its surface and one before that another begins; no fifth does."""
    flights = Flights()
    room = []
    for _ in range(MAX_FINISHING + 1):
        room.append(flights.room)
        flights.begin(job(), None, 0.0).on_device = False

    assert room == [True] * 4
    assert not flights.room


def test_a_wait_inside_the_worker_is_counted() -> None:
    """A job that waited for one that went back to the device has less time than it was given."""
    plan = Plan(seconds=60.0, free_seconds=3.0)
    waited = Work(1, JobSpec(prompt="x"), plan, came_at=time.monotonic() - 10).plan_now()

    assert waited.seconds is not None
    assert waited.seconds <= 50.0
    assert waited.free_seconds == 0.0
    assert Work(1, JobSpec(prompt="x"), Plan()).plan_now() == Plan()


def overlapping(settings: Settings, wanted: str) -> Settings:
    """The settings with ``worker.overlap``."""
    worker = settings.daemon.worker.model_copy(update={"overlap": wanted})
    daemon = settings.daemon.model_copy(update={"worker": worker})
    return settings.model_copy(update={"daemon": daemon})


async def test_the_same_bytes_with_and_without() -> None:
    """The embedded preset gives equal files for equal seeds, with the same stages timed."""
    settings = load_settings("mini", {"device": "cpu"}, environ={})
    found = []
    for wanted in ("on", "off"):
        models = overlapping(settings, wanted)
        async with LocalExecutor(models, WorkerSettings(), Metrics(Time())) as executor:
            jobs = [replace(job("a red cube", seed), plan=Plan()) for seed in range(3)]
            found.append(await asyncio.gather(*map(executor.submit, jobs)))

    assert [asset.data for asset in found[0]] == [asset.data for asset in found[1]]
    assert [list(asset.timings) for asset in found[0]] == [list(one.timings) for one in found[1]]

"""Jobs in worker processes: what is answered, how, and by whom. The processes are real."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from miner.errors import (
    BadImage,
    ConfigError,
    Draining,
    JobCancelled,
    MinerError,
    OutOfMemory,
    StageError,
)
from miner.job import Asset
from miner.settings import worker_environment
from tests.fakes.workers import build, job, until, workers


async def test_a_job_is_answered(tmp_path: Path) -> None:
    """The asset comes back whole, with the engine's counts and timings."""
    async with workers("Quick", tmp_path) as made:
        asset = await made.executor.submit(job("a mug", seed=2**63 - 1))

    data = f"a mug {2**63 - 1}".encode()
    assert asset == Asset(data, "ply", len(data), "fake", {"paint": 0.5, "encode": 0.125})


async def test_free_seconds_arrive_and_scores_come_back(tmp_path: Path) -> None:
    """The engine is told what is free, and each score is held against the preset's threshold."""
    async with workers("Checked", tmp_path) as made:
        given = [replace(job(), free_seconds=free) for free in (75.0, 25.0, None)]
        assets = [await made.executor.submit(one) for one in given]

    scores = [pytest.approx(0.75, abs=0.2), pytest.approx(0.25, abs=0.2)]  # less the way there
    assert [asset.score for asset in assets] == [*scores, None]
    assert made.metrics.checks == [(scores[0], True, 3), (scores[1], False, 3)]


async def test_a_picture_reaches_the_engine(tmp_path: Path) -> None:
    """A picture's bytes arrive as they are, also when there are many."""
    picture = bytes(range(256)) * 40_000
    async with workers("Quick", tmp_path) as made:
        asset = await made.executor.submit(job(image=picture))

    assert asset.data == picture


async def test_progress_is_told_in_order(tmp_path: Path) -> None:
    """The caller hears of each step of its job, before the answer."""
    told: list[tuple[str, int, int]] = []
    async with workers("Quick", tmp_path) as made:
        await made.executor.submit(job(), lambda *step: told.append(step))

    assert told == [("paint", 1, 2), ("paint", 2, 2)]


async def test_ready_means_warm(tmp_path: Path) -> None:
    """Once entered there is capacity, the warm-up's time is a hint, and health tells the rest."""
    made = build("Quick", tmp_path)
    assert made.executor.capacity == 0
    assert not made.executor.health().ready

    async with made.executor:
        (health,) = made.executor.health().workers
        assert made.executor.capacity == 1
        assert made.executor.service_seconds_hint == 0.25
        assert (health.state, health.device, health.restarts) == ("ready", "fake device", 0)
        assert list(health.load_seconds) == ["process", "model", "warm_up"]
        assert health.memory["gpu_used"] == 1000
        assert health.memory["resident"] > 2**20

    assert made.executor.health().workers[0].state == "stopped"
    assert made.executor.health().workers[0].pid is None
    assert made.metrics.states[:2] == ["starting", "ready"]
    assert made.metrics.states[-1] == "stopped"


async def test_encoding_overlaps_the_next_job(tmp_path: Path) -> None:
    """A job begins while the one before it is encoded: this engine would else wait for ever."""
    async with workers("Overlapping", tmp_path) as made:
        answers = await asyncio.gather(*map(made.make, ["first", "second", "third", "last"]))

    assert answers == [b"first 0", b"second 0", b"third 0", b"last 0"]


async def test_a_busy_device_has_no_capacity(tmp_path: Path) -> None:
    """Capacity goes with the job and comes back with an announcement."""
    async with workers("Sleeping", tmp_path) as made:
        told: list[int] = []
        made.executor.subscribe(lambda: told.append(made.executor.capacity))
        work = made.begin("a cube")
        await until((tmp_path / "begun").exists)
        assert made.executor.capacity == 0
        assert made.executor.health().workers[0].state == "busy"
        told.clear()
        (tmp_path / "go").touch()
        await work

        assert made.executor.capacity == 1
        assert told[-1] == 1


async def test_a_burst_waits_for_capacity(tmp_path: Path) -> None:
    """Jobs handed over all at once are all answered, one after the other."""
    async with workers("Quick", tmp_path) as made:
        answers = await asyncio.gather(*(made.make("a", seed) for seed in range(40)))

    assert answers == [f"a {seed}".encode() for seed in range(40)]


async def test_a_job_is_cancelled_by_its_id(tmp_path: Path) -> None:
    """The job ends with JobCancelled, the worker stays and takes the next."""
    async with workers("Sleeping", tmp_path) as made:
        pid, wanted = made.pid, job()
        work = asyncio.create_task(made.executor.submit(wanted))
        await until((tmp_path / "begun").exists)
        made.executor.cancel("somebody else's")
        made.executor.cancel(wanted.id)
        with pytest.raises(JobCancelled):
            await work
        (tmp_path / "go").touch()

        assert await made.make("next") == b"next 0"
        assert made.pid == pid


async def test_cancelling_the_caller_cancels_the_job(tmp_path: Path) -> None:
    """Nobody waits any more, so the work stops; the slot is free when the worker says so."""
    async with workers("Sleeping", tmp_path) as made:
        pid, work = made.pid, made.begin("a cube")
        await until((tmp_path / "begun").exists)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await until(lambda: made.executor.capacity == 1)

        assert made.pid == pid
        assert made.executor.health().workers[0].job_id is None


@pytest.mark.parametrize(
    ("prompt", "kind", "text"),
    [
        ("out of memory", OutOfMemory, "reconstruct: the device ran out of memory"),
        ("host memory", OutOfMemory, "worker: the host ran out of memory"),
        ("library's memory", OutOfMemory, "worker: the device ran out of memory"),
        ("bad image", BadImage, "not a picture"),
        ("foreign", StageError, "worker: ValueError: something"),
        ("in encode", StageError, "worker: ValueError: cannot be written"),
    ],
)
async def test_errors_come_back_as_ours(
    tmp_path: Path, prompt: str, kind: type[MinerError], text: str
) -> None:
    """A failing job raises the error of our tree that says why, and costs the worker nothing."""
    async with workers("Raising", tmp_path) as made:
        pid = made.pid
        with pytest.raises(MinerError) as caught:
            await made.make(prompt)

        assert (type(caught.value), str(caught.value)) == (kind, text)
        assert await made.make("fine") == b"fine 0"
        assert made.pid == pid


async def test_draining_ends_with_the_last_job(tmp_path: Path) -> None:
    """Nothing new begins, what runs is answered, and then drain returns."""
    async with workers("Sleeping", tmp_path) as made:
        work = made.begin("a cube")
        await until((tmp_path / "begun").exists)
        drained = asyncio.create_task(made.executor.drain())
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await made.make("late")
        assert made.executor.capacity == 0
        assert not drained.done()
        (tmp_path / "go").touch()

        assert await work == b"a cube 0"
        await drained


async def test_workers_share_the_jobs(tmp_path: Path) -> None:
    """As many jobs run at once as there are workers."""
    async with workers("Sleeping", tmp_path, count=2) as made:
        await until(lambda: made.executor.capacity == 2)
        both = [made.begin("left"), made.begin("right")]
        await until(lambda: made.executor.capacity == 0)
        states = [worker.state for worker in made.executor.health().workers]
        (tmp_path / "go").touch()

        assert states == ["busy", "busy"]
        assert await asyncio.gather(*both) == [b"left 0", b"right 0"]


async def test_each_worker_sees_its_own_gpu(tmp_path: Path) -> None:
    """The device is named in the child's environment, and in no other."""
    async with workers("Telling", tmp_path, count=2, gpus=("3", "GPU-x")) as made:
        await until(lambda: made.executor.capacity == 2)
        answers = await asyncio.gather(made.make("a"), made.make("b"))

    assert set(answers) == {b"cpu 3", b"cpu GPU-x"}


def test_a_gpu_outside_of_the_mask_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any worker is spawned, with one line."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=2,3"):
        build("Quick", tmp_path, gpus=("2",))


def test_the_environment_of_a_worker() -> None:
    """It is ours, with the package's own folder first and without the service manager's socket."""
    ours = {"HOME": "/h", "NOTIFY_SOCKET": "/s", "PYTHONPATH": "/p", "OMP_WAIT_POLICY": "ACTIVE"}
    ours["XDG_CACHE_HOME"] = "/c"

    child = worker_environment("1", ours)

    root = str(Path(__file__).parent.parent.parent)
    assert child == {
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "HOME": "/h",
        "XDG_CACHE_HOME": "/c",
        "TORCHINDUCTOR_CACHE_DIR": "/c/splat-miner/kernels",
        "PYTHONPATH": f"{root}:/p",
        "OMP_WAIT_POLICY": "ACTIVE",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1",
    }
    mine = {"PYTHONPATH": root, "PYTORCH_ALLOC_CONF": "backend:native"}
    mine["TORCHINDUCTOR_CACHE_DIR"] = "/fast"
    assert worker_environment(None, mine) == {
        "PYTHONPATH": f"{root}:{root}",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTORCH_ALLOC_CONF": "backend:native",
        "TORCHINDUCTOR_CACHE_DIR": "/fast",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def test_it_works_with_uvloop_too(tmp_path: Path) -> None:
    """The other event loop spawns, serves and ends workers alike."""

    async def serve() -> bytes:
        async with workers("Quick", tmp_path) as made:
            return await made.make("a cube")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(serve()) == b"a cube 0"

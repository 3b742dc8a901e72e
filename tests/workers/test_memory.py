"""Memory of workers: plans and shortages reach the daemon, leaks end with their worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from miner.app.reload import in_precision
from miner.errors import BadOption, OutOfMemory, StartupError
from miner.gpu.plan import Card
from miner.settings import Settings, load_settings, worker_environment
from tests.fakes.workers import Workers, build, until, workers

JOBS = 300
GROWTH_BYTES = 100 << 20


def settings_of(made: Workers) -> Settings:
    flags = {"weights": str(made.folder), "device": "cpu"}
    return load_settings("mini", flags, environ={})


async def test_shortages_are_counted(tmp_path: Path) -> None:
    """Where memory ran out is told for jobs that went on with less and for jobs that failed."""
    async with workers("ShortOfMemory", tmp_path) as made:
        await made.make("a cube")
        with pytest.raises(OutOfMemory):
            await made.make("too much")

    went, failed = ("text_to_image", True), ("surface", False)
    assert made.metrics.shortages == [went, went, failed]


async def test_the_plan_of_a_worker_is_known_when_it_is_ready(tmp_path: Path) -> None:
    """What the engine loaded by comes with its readiness, to metrics and health alike."""
    async with workers("Planned", tmp_path) as made:
        (health,) = made.executor.health().workers

    (plan,) = made.metrics.plans
    assert plan.card == Card("fake", 9, 8, (8, 9), 7)
    assert plan.of("vae").residency == "host"
    assert health.plan["painter"] == "x"


async def test_another_precision_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """After a reload the next life has the new mode, and its plan is told of."""
    async with workers("Planned", tmp_path) as made:
        await made.executor.reload(in_precision(settings_of(made), "bf16"))

        assert await made.make("a cube") == b"bf16"
        assert [plan.of("vae").precision for plan in made.metrics.plans] == ["auto", "bf16"]


@pytest.mark.parametrize(
    ("mode", "reason"), [("nf4", "bitsandbytes is not there"), ("int8", "no kernel for int8")]
)
async def test_what_does_not_load_or_warm_up_leaves_all_as_it_was(
    tmp_path: Path, mode: str, reason: str
) -> None:
    """The reload says why it failed when the last good configuration is back, on all workers, and
    later lives keep to it."""
    async with workers("Planned", tmp_path, count=2) as made:
        await made.executor.reload(in_precision(settings_of(made), "fp16"))
        with pytest.raises(StartupError, match=reason):
            await made.executor.reload(in_precision(settings_of(made), mode))
        states = [worker.state for worker in made.executor.health().workers]
        answers = await asyncio.gather(*(made.make("a cube", seed) for seed in range(4)))
        await made.executor.reload()

        assert states == ["ready", "ready"]
        assert set(answers) == {b"fp16"}
        assert await made.make("a cube") == b"fp16"


def test_an_unknown_precision_is_named(tmp_path: Path) -> None:
    """A mistyped mode is refused with the list, before anything is drained."""
    with pytest.raises(BadOption, match=r"'fp4'.*auto, fp32, fp16, bf16, fp8, int8, nf4"):
        in_precision(settings_of(build("Quick", tmp_path)), "fp4")


async def test_a_slow_leak_is_found_over_hundreds_of_jobs(tmp_path: Path) -> None:
    """A megabyte a job costs the worker its life between two jobs; no job is lost by it."""
    async with workers("LeakingSlowly", tmp_path, max_growth_bytes=GROWTH_BYTES) as made:
        for seed in range(JOBS):
            assert await made.make("a cube", seed) == f"a cube {seed}".encode()
        await until(lambda: made.metrics.restarts["memory_growth"] > 0)

        assert set(made.metrics.restarts) == {"memory_growth"}


async def test_hundreds_of_clean_jobs_keep_their_worker(tmp_path: Path) -> None:
    """As many jobs that take as much and keep nothing end where they began."""
    async with workers("Churning", tmp_path, max_growth_bytes=GROWTH_BYTES) as made:
        pid = made.pid
        before = made.executor.health().workers[0].memory["resident"]
        for seed in range(JOBS):
            await made.make("a cube", seed)
        ticks = made.time.ticks
        await until(lambda: made.time.ticks > ticks + 3)
        after = made.executor.health().workers[0].memory["resident"]

        assert made.pid == pid
        assert after - before < GROWTH_BYTES / 4


async def test_what_stays_on_the_device_ends_the_worker(tmp_path: Path) -> None:
    """A megabyte a job that is left there, and the worker is replaced between two jobs."""
    async with workers("LeakingOnDevice", tmp_path, max_gpu_growth_bytes=GROWTH_BYTES) as made:
        for seed in range(JOBS):
            assert await made.make("a cube", seed) == f"a cube {seed}".encode()

        assert made.metrics.restarts == {"memory_growth": JOBS * (1 << 20) // (GROWTH_BYTES + 1)}


async def test_models_that_come_and_go_are_no_leak(tmp_path: Path) -> None:
    """Each set of them is measured by itself, so that the worker lives through hundreds of jobs."""
    async with workers("VisitedDevice", tmp_path, max_gpu_growth_bytes=GROWTH_BYTES) as made:
        pid = made.pid
        for seed in range(JOBS):
            await made.make("a cube", seed)

        assert made.pid == pid
        assert not made.metrics.restarts


def test_segments_of_the_gpu_s_memory_may_grow() -> None:
    """Workers get the allocator's option under both its names, unless one was set."""
    ours = worker_environment(environ={})
    theirs = worker_environment(environ={"PYTORCH_ALLOC_CONF": "backend:native"})

    assert ours["PYTORCH_CUDA_ALLOC_CONF"] == ours["PYTORCH_ALLOC_CONF"]
    assert ours["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert theirs["PYTORCH_ALLOC_CONF"] == "backend:native"
    assert "PYTORCH_CUDA_ALLOC_CONF" not in theirs

"""Workers that die, hang, grow or do not start. The processes are real; their engines are fakes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import JobError, StartupError, WarmupError, WeightsError, WorkerLost
from miner.settings import WorkerSettings, worker_environment
from miner.workers.supervisor import backoff_seconds
from tests.fakes.workers import Workers, alive, build, until, workers

ROOT = Path(__file__).parent.parent


async def make_in_the_end(made: Workers, prompt: str) -> bytes:
    """What a queue does: tries again as long as workers are lost under the job."""
    while True:
        try:
            return await made.make(prompt)
        except WorkerLost:
            continue


async def test_a_killed_worker_costs_its_job_and_is_replaced(tmp_path: Path) -> None:
    """The job gets WorkerLost at once, and another process takes the next."""
    async with workers("Sleeping", tmp_path) as made:
        pid, work = made.pid, made.begin("a cube")
        await until((tmp_path / "begun").exists)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            await work
        (tmp_path / "go").touch()

        assert await made.make("next") == b"next 0"
        (health,) = made.executor.health().workers
        assert health.pid != pid
        assert health.restarts == 1
        assert health.last_error == "crash: killed by SIGKILL"
        assert made.metrics.restarts == {"crash": 1}


async def test_killing_under_load_loses_nothing(tmp_path: Path) -> None:
    """Each job is answered with its own asset, however often the worker is killed meanwhile."""
    async with workers("Quick", tmp_path) as made:
        work = [asyncio.create_task(make_in_the_end(made, f"job {n}")) for n in range(200)]
        for done in (10, 60, 110, 160):
            await until(lambda done=done: sum(task.done() for task in work) >= done)
            pid = made.pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

        assert await asyncio.gather(*work) == [f"job {n} 0".encode() for n in range(200)]
        assert made.executor.health().workers[0].restarts >= 3


async def test_the_dead_get_one_job_at_most(tmp_path: Path) -> None:
    """A worker that died a moment ago, unnoticed so far, does not use up the tries of a job."""
    async with workers("Quick", tmp_path) as made:
        pid = made.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while alive(pid):  # without giving the event loop a chance to hear of it
            pass
        with pytest.raises(WorkerLost):
            await made.make("a cube")

        assert made.executor.capacity == 0
        assert await made.make("a cube") == b"a cube 0"


async def test_a_fault_in_native_code_is_a_crash(tmp_path: Path) -> None:
    """The daemon survives it, and says which signal it was."""
    async with workers("Crashing", tmp_path) as made:
        with pytest.raises(WorkerLost):
            await made.make("a cube")

        assert await made.make("next") == b"next 0"
        assert "SIGSEGV" in (made.executor.health().workers[0].last_error or "")


async def test_a_worker_without_signs_of_life_is_killed(tmp_path: Path) -> None:
    """One that holds the interpreter's lock cannot answer, nor be asked to stop."""
    async with workers("HoldingTheLock", tmp_path, hang_seconds=5) as made:
        work = made.begin("a cube")
        await until((tmp_path / "hung").exists)
        made.time.flying = True
        with pytest.raises(WorkerLost):
            await work

        assert await make_in_the_end(made, "next") == b"next 0"
        assert made.metrics.restarts["hang"] == 1


async def test_a_job_over_its_limit_costs_the_worker_its_life(tmp_path: Path) -> None:
    """A worker that waits for ever is alive by its heartbeat, and still does not keep the job."""
    async with workers("Stuck", tmp_path, hang_seconds=3600, job_seconds=20) as made:
        work = made.begin("a cube")
        await until((tmp_path / "stuck").exists)
        made.time.flying = True
        with pytest.raises(WorkerLost):
            await work

        assert await make_in_the_end(made, "next") == b"next 0"
        assert made.metrics.restarts == {"job_limit": 1}


async def test_a_stall_of_the_daemon_is_no_hang(tmp_path: Path) -> None:
    """When this process stood still for an hour, the worker's silence proves nothing."""
    async with workers("Quick", tmp_path, hang_seconds=5) as made:
        pid, ticks = made.pid, made.time.ticks
        made.time.ahead += 3600
        await until(lambda: made.time.ticks > ticks + 3)

        assert made.pid == pid
        assert made.metrics.restarts == {}


async def test_a_worker_that_grows_is_replaced_between_jobs(tmp_path: Path) -> None:
    """No job is lost by it, and it does not count as a death."""
    async with workers("Leaking", tmp_path, max_growth_bytes=100_000_000) as made:
        first = made.pid
        for seed in range(100):
            await made.make("a cube", seed)
            if made.metrics.restarts:
                break

        assert made.metrics.restarts == {"memory_growth": 1}
        assert f"pid {first}".encode() not in await made.make("next")
        assert made.executor.health().workers[0].restarts == 0
        assert made.time.waits == []


async def test_a_device_that_broke_takes_its_worker_along(tmp_path: Path) -> None:
    """The job may be tried again, with a new process: the old one could do no more."""
    async with workers("BrokenDevice", tmp_path) as made:
        with pytest.raises(WorkerLost):
            await made.make("a cube")

        assert await made.make("a cube") == b"a cube 0"
        assert made.metrics.restarts == {"broken": 1}
        assert "illegal memory access" in (made.executor.health().workers[0].last_error or "")


async def test_reload_replaces_after_the_job(tmp_path: Path) -> None:
    """The job in hand is answered by the old process, the next one by the new."""
    async with workers("Sleeping", tmp_path) as made:
        pid, work = made.pid, made.begin("old")
        await until((tmp_path / "begun").exists)
        reloaded = asyncio.create_task(made.executor.reload())
        await asyncio.sleep(0)
        waiting = made.begin("new")
        assert made.executor.health().workers[0].state == "draining"
        (tmp_path / "go").touch()

        assert await work == b"old 0"
        await reloaded
        assert made.pid not in (pid, None)
        assert await waiting == b"new 0"
        assert made.metrics.restarts == {"reload": 1}
        assert made.time.waits == []


async def test_missing_weights_stop_the_start(tmp_path: Path) -> None:
    """What the operator must mend is raised as it is, and no process is left."""
    made = build("Unloadable", tmp_path)
    with pytest.raises(WeightsError, match="run: miner fetch") as caught:
        async with made.executor:
            raise AssertionError

    assert caught.value.exit_code == 78
    assert made.executor.health().workers[0].state == "failed"
    assert made.pid is None


async def test_a_failed_warm_up_stops_the_start(tmp_path: Path) -> None:
    """Models that load and cannot work are an error of the start, not of the first caller."""
    made = build("ColdFailure", tmp_path)
    with pytest.raises(WarmupError, match="no kernel image"):
        async with made.executor:
            raise AssertionError


async def test_an_unknown_engine_stops_the_start(tmp_path: Path) -> None:
    """A name that leads nowhere is told in one line."""
    made = build("NoSuchEngine", tmp_path)
    with pytest.raises(StartupError, match=r"no engine 'tests\.fakes\.engines:NoSuchEngine'"):
        async with made.executor:
            raise AssertionError


async def test_a_start_over_its_limit_is_given_up(tmp_path: Path) -> None:
    """The text names the setting that was too short."""
    made = build("SlowToLoad", tmp_path, start_seconds=0.3)
    with pytest.raises(StartupError, match=r"worker\.start_seconds"):
        async with made.executor:
            raise AssertionError


async def test_dying_before_ready_is_tried_a_few_times(tmp_path: Path) -> None:
    """Three deaths at the start are the operator's business; the last words are in the text."""
    made = build("DyingAtStart", tmp_path)
    with pytest.raises(StartupError, match=r"3 times before .*exit code 3: last words"):
        async with made.executor:
            raise AssertionError

    assert made.time.waits == [0.5, 1.0]


async def test_a_later_failed_start_is_a_death(tmp_path: Path) -> None:
    """The daemon stays and tries again, after a wait that doubles; ``run`` does not end."""
    async with workers("UnloadableLater", tmp_path) as made:
        running = asyncio.create_task(made.executor.run())
        with pytest.raises(WorkerLost):
            await made.make("a cube")

        assert await made.make("next") == b"next 0"
        assert made.time.waits == [0.5, 1.0]
        assert made.metrics.restarts == {"crash": 1, "start": 1}
        assert made.executor.health().workers[0].last_error == (
            "start: flux: this weight file is missing; run: miner fetch"
        )
        assert not running.done()
        running.cancel()


async def test_a_reload_that_cannot_start_says_so(tmp_path: Path) -> None:
    """Whoever asked for the reload gets the reason; the worker is tried again all the same."""
    async with workers("UnloadableLater", tmp_path) as made:
        (tmp_path / "killed").touch()
        with pytest.raises(StartupError, match="this weight file is missing"):
            await made.executor.reload()

        assert await made.make("next") == b"next 0"


async def test_run_ends_when_one_worker_cannot_start(tmp_path: Path) -> None:
    """A second worker that cannot start the first time ends the daemon, though one is ready."""
    made = build("SecondUnloadable", tmp_path, count=2)
    with pytest.raises(WeightsError):
        async with made.executor:
            await made.executor.run()


async def test_ending_takes_the_processes_along(tmp_path: Path) -> None:
    """After the block no worker is left, also under a job; the job gets WorkerLost."""
    async with workers("Sleeping", tmp_path) as made:
        pid, work = made.pid, made.begin("a cube")
        await until((tmp_path / "begun").exists)
    assert pid is not None

    assert not alive(pid)
    with pytest.raises(JobError):
        await work


async def test_a_terminal_reaches_the_daemon_alone(tmp_path: Path) -> None:
    """The worker has a session of its own, and leaves the decision to stop to the daemon."""
    async with workers("Quick", tmp_path) as made:
        pid = made.pid
        assert pid is not None
        assert os.getsid(pid) == pid
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)

        assert await made.make("a cube") == b"a cube 0"
        assert made.pid == pid


@pytest.mark.parametrize("engine", ["Sleeping", "HoldingTheLock"])
async def test_workers_die_with_the_daemon(tmp_path: Path, engine: str) -> None:
    """A daemon killed with -9 leaves no worker behind, not even one that hangs."""
    script = (
        "import asyncio, pathlib\n"
        "from tests.fakes.workers import workers\n"
        "async def main():\n"
        f"    async with workers({engine!r}, pathlib.Path({str(tmp_path)!r})) as made:\n"
        "        print(made.pid, flush=True)\n"
        "        await made.make('a cube')\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - killed as a whole, and spawned in an instant
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env=worker_environment(),
    ) as daemon:
        assert daemon.stdout is not None
        pid = int(await asyncio.to_thread(daemon.stdout.readline))
        await until(lambda: (tmp_path / "begun").exists() or (tmp_path / "hung").exists())
        assert alive(pid)
        daemon.kill()

    await until(lambda: not alive(pid))


@given(st.integers(1, 10_000), st.floats(0.0, 60.0), st.floats(0.0, 3600.0))
def test_the_wait_doubles_up_to_its_bound(deaths: int, first: float, bound: float) -> None:
    """Never longer than the bound, never shorter than after one death less."""
    settings = WorkerSettings(restart_backoff_seconds=first, max_restart_backoff_seconds=bound)
    wait, next_wait = (backoff_seconds(settings, n) for n in (deaths, deaths + 1))

    assert backoff_seconds(settings, 1) == min(first, bound)
    assert wait <= next_wait <= bound
    assert next_wait in (bound, 2 * wait) or deaths > 30

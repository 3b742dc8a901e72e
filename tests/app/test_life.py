"""The daemon's life as an operator sees it: up, reload, down; a real process each."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.app.executors import Executor
from tests.app.running import OTHER, Running, calling, daemon

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent


async def test_a_validator_is_answered_on_both_ways(tmp_path: Path, executor: Executor) -> None:
    """A signed request gets its splat on the connection, and a pushed task by polling."""
    async with executor.daemon(tmp_path) as running, calling(running) as caller:
        shot = await caller.generate("a red cube", seed=3)
        taken = await caller.push("a blue car", "task-1")
        polled = await caller.poll("task-1")
        while polled.status in ("IN QUEUE", "IN PROGRESS"):
            polled = await caller.poll("task-1")

        assert shot.dendrite.status_code == 200
        assert shot.generator == "fake"
        assert taken.status == "IN QUEUE"
        assert polled.status == "DONE"
        assert polled.results


async def test_pages_and_counters_tell_what_happened(tmp_path: Path) -> None:
    """After one request the metrics count it, the status shows it and readiness is said."""
    async with daemon(tmp_path) as running, calling(running) as caller:
        await caller.generate("a red cube")
        addresses = running.status()["addresses"]
        text = await asyncio.to_thread(read, f"{addresses['metrics']}/metrics")
        ready = await asyncio.to_thread(read, f"{addresses['api']}/readyz")

        labels = 'code="ok",identity="main",intake="generate3d"'
        assert f"miner_jobs_finished_total{{{labels}}} 1.0" in text
        assert 'miner_http_requests_total{route="Generate3D",server="axon",status="200"}' in text
        assert running.status()["counters"]["jobs_accepted"] == 1
        assert '"ready":true' in ready


async def test_a_stop_finishes_what_was_accepted(tmp_path: Path, executor: Executor) -> None:
    """SIGTERM refuses new work, lets the job in flight end, answers it and exits with 0."""
    async with executor.daemon(tmp_path, "Sleeping") as running, calling(running) as caller:
        address = caller.address
        waiting = asyncio.create_task(caller.generate("a red cube"))
        await running.until((running.scratch / "begun").exists)
        ending = asyncio.create_task(running.end())
        await running.until(lambda: not running.status()["ready"])
        caller.address = address
        refused = await caller.generate("a late one")
        (running.scratch / "go").touch()

        assert refused.dendrite.status_code == 503
        assert (await waiting).dendrite.status_code == 200
        assert await ending == 0
        assert running.outcomes() == {"done": 1}


async def test_a_second_stop_ends_at_once(tmp_path: Path, executor: Executor) -> None:
    """The second SIGTERM does not wait for the job, and leaves no process behind."""
    async with executor.daemon(tmp_path, "Sleeping") as running, calling(running) as caller:
        await caller.push("a red cube", "task-1")
        await running.until((running.scratch / "begun").exists)
        pids = running.worker_pids()
        assert running.process is not None
        running.process.send_signal(signal.SIGTERM)
        await running.until(lambda: not running.status()["ready"])

        assert await running.end() == 128 + signal.SIGTERM
        async with asyncio.timeout(60):
            while any(map(alive, pids)):  # noqa: ASYNC110 - nobody tells of a foreign process's end
                await asyncio.sleep(0.02)


async def test_the_limit_of_a_drain_leaves_promises_for_the_next_life(
    tmp_path: Path, executor: Executor
) -> None:
    """A promised job that outlasts the drain is done in the next life; a waiting one is told."""
    async with executor.daemon(tmp_path, "Sleeping", queue={"drain_seconds": 0.2}) as running:
        async with calling(running) as caller:
            await caller.push("a red cube", "task-1")
            waiting = asyncio.create_task(caller.generate("a blue car"))
            await running.until(lambda: running.status()["queue"]["depth"] == 1)
            assert await running.end() == 0
            assert (await waiting).dendrite.status_code == 503
        (running.scratch / "go").touch()
        await running.start()
        async with calling(running) as caller:
            polled = await caller.poll("task-1")
            while polled.status in ("IN QUEUE", "IN PROGRESS"):
                polled = await caller.poll("task-1")

        assert polled.status == "DONE"
        assert running.outcomes() == {"done": 1, "failed": 1}


async def test_a_reload_applies_what_it_can_and_says_what_it_cannot(tmp_path: Path) -> None:
    """SIGHUP: a denied hotkey is refused from then on, a changed port is named as waiting."""
    async with daemon(tmp_path) as running, calling(running, OTHER) as caller:
        before = await caller.generate("a red cube")
        text = running.settings.read_text().replace("[api]\nport = 0", "[api]\nport = 1")
        denied = f'\n[admission]\ndeny = ["{OTHER.ss58_address}"]\n'
        running.settings.write_text(text + denied)
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        await running.until(lambda: any(line["event"] == "reloaded" for line in running.lines))
        told = next(line for line in running.lines if line["event"] == "reloaded")
        after = await caller.generate("a red cube")

        assert before.dendrite.status_code == 200
        assert after.dendrite.status_code == 403
        assert told["applied"] == ["admission.deny"]
        assert told["after_restart"] == ["api.port"]


async def test_a_reload_of_wrong_settings_changes_nothing(tmp_path: Path) -> None:
    """SIGHUP with a mistyped key is refused in one line, and the daemon goes on."""
    async with daemon(tmp_path) as running, calling(running) as caller:
        running.settings.write_text(running.settings.read_text() + "\n[axom]\nport = 1\n")
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        await running.until(lambda: any(x["event"] == "reload_refused" for x in running.lines))

        assert (await caller.generate("a red cube")).dendrite.status_code == 200


async def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """The state folder belongs to one: the second exits with 78 and says why in one line."""
    async with daemon(tmp_path) as running:
        log = tmp_path / "second"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "tests.fakes.daemon", running.engine, "--config"]
            second = await asyncio.create_subprocess_exec(
                *command, str(running.settings), stdout=output, stderr=output
            )
            status = await asyncio.wait_for(second.wait(), 30)

        assert status == 78
        assert log.read_text().count("\n") == 1
        assert "daemon" in log.read_text()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ('hotkey_file = "/nowhere/hotkey"', "/nowhere/hotkey"),
        ("", "wallet.hotkey_file"),
        ('coldkey = "x"', "wallet.coldkey"),
    ],
)
async def test_a_start_that_cannot_be_is_refused(tmp_path: Path, change: str, key: str) -> None:
    """What the operator must mend ends the start with 78 and one line that names it."""
    running = Running(tmp_path, "Quick")
    lines = running.settings.read_text().splitlines()
    kept = [change if line.startswith("hotkey_file") else line for line in lines]
    running.settings.write_text("\n".join(kept))
    await running.start(ready=False)
    assert running.process is not None

    assert await asyncio.wait_for(running.process.wait(), 30) == 78
    said = [x for x in running.log.read_text().splitlines() if x.startswith("miner:")]
    assert len(said) == 1
    assert key in said[0]
    assert "Traceback" not in running.log.read_text()


async def test_a_stop_while_loading_ends_in_order(tmp_path: Path, executor: Executor) -> None:
    """SIGTERM before ready takes down what is up, and exits with 0."""
    running = executor.running(tmp_path, "SlowToLoad")
    await running.start(ready=False)
    await running.until(lambda: bool(running.status()))

    assert not running.status()["ready"]
    assert await running.end() == 0


def read(address: str) -> str:
    with urlopen(address, timeout=10) as reply:
        return str(reply.read().decode())


def alive(pid: int) -> bool:
    """Whether the process is there and not merely unreaped."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter while it goes
        return False

"""The rollback in a real daemon: requests go on, decisions are shown and survive, people decide."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from miner.network.control_client import ask
from tests.app.executors import Executor
from tests.app.running import calling, daemon

QUICK = {"failures": 2, "cool_down_seconds": 0.3, "max_cool_down_seconds": 0.3, "steps": []}


async def test_the_service_goes_on_and_comes_back(tmp_path: Path, executor: Executor) -> None:
    """The primary breaks and is mended: every request is answered, by whom the status says."""
    async with (
        executor.daemon(tmp_path, "Breakable", rollback=QUICK) as running,
        calling(running) as caller,
    ):
        well = await caller.generate("0")
        (running.scratch / "broken").touch()
        broken = [await caller.generate(f"broken {number}") for number in range(4)]
        (running.scratch / "broken").unlink()
        number = 0
        async with asyncio.timeout(60):
            while running.status()["generator"] != "triposr":
                number += 1
                assert (await caller.generate(f"mended {number}")).dendrite.status_code == 200
        back = await caller.generate("back")
        told = running.status()["rollback"]
        counted = {
            state: running.counted("miner_rollback_changes_total", state=state)
            for state in ("open", "half_open", "closed")
        }

    assert (well.generator, back.generator) == ("triposr", "triposr")
    assert {reply.generator for reply in broken} == {"dreamgaussian"}
    assert {reply.dendrite.status_code for reply in broken} == {200}
    states = [change["state"] for change in told["changes"]]
    assert states[0] == "open"
    assert states[-2:] == ["half_open", "closed"]
    assert counted == {state: states.count(state) for state in counted}


async def test_a_decision_by_hand_survives_a_kill(tmp_path: Path, executor: Executor) -> None:
    """Rolled back by hand, killed and started again, it is still rolled back; then restored."""
    async with executor.daemon(tmp_path, "Breakable", rollback=QUICK) as running:
        ask(running.state_dir, "POST", "rollback")
        async with calling(running) as caller:
            before = await caller.generate("a red cube")
        await running.end(signal.SIGKILL)
        await running.start()
        async with calling(running) as caller:
            after = await caller.generate("a blue cube")
            ask(running.state_dir, "POST", "restore")
            restored = await caller.generate("a green cube")

    assert [before.generator, after.generator] == ["dreamgaussian"] * 2
    assert restored.generator == "triposr"


async def test_a_pin_in_the_file_holds_after_a_reload(tmp_path: Path) -> None:
    """SIGHUP with rollback.pin changed moves new jobs, and is told as applied."""
    async with daemon(tmp_path, "Breakable") as running, calling(running) as caller:
        running.settings.write_text(
            running.settings.read_text() + '\n[rollback]\npin = "rollback"\n'
        )
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        await running.until(lambda: any(line["event"] == "reloaded" for line in running.lines))
        told = next(line for line in running.lines if line["event"] == "reloaded")
        made = await caller.generate("a red cube")

    assert told["applied"] == ["rollback.pin"]
    assert made.generator == "dreamgaussian"

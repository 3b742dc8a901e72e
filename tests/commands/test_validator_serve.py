"""``miner validator-serve`` as operators start it, through both doors, killed and restarted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miner.admission.signature import new_hotkey, write_hotkey
from miner.cli import main
from miner.network.dendrite import Dendrite
from miner.network.subnet import PullTask, SubmitResults
from tests.validator.rig import submission

ROOT = Path(__file__).parents[2]
DOORS = {
    "command": ["-m", "miner", "validator-serve"],
    "script": ["neurons/validator.py", "--serve"],
    "module": ["-m", "neurons.validator", "--serve"],
}
MINER = new_hotkey(b"m" * 32)
END_SECONDS = 20.0


class Process:
    """A validator that listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline().split()
        assert line[:1] == ["validator"], line
        self.hotkey, self.address = line[1], line[3]

    async def call(self, message: PullTask | SubmitResults) -> PullTask | SubmitResults:
        """One call of the miner."""
        async with Dendrite(MINER) as dendrite:
            return await dendrite.call(self.address, self.hotkey, message)

    async def cycle(self, results: str | None = None) -> SubmitResults:
        """A task pulled and its result submitted."""
        pulled = await self.call(PullTask())
        assert isinstance(pulled, PullTask)
        assert pulled.task is not None
        result = submission(pulled.task, results, MINER, self.hotkey)
        reply = await self.call(result)
        assert isinstance(reply, SubmitResults)
        return reply

    def end(self, number: int = signal.SIGTERM) -> tuple[int, list[str]]:
        """Its status and what it printed after the first line."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, list[str]]:
        """The same, where it ends by itself."""
        out, _ = self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode, out.splitlines()


@contextmanager
def serving(door: list[str], *arguments: object) -> Iterator[Process]:
    """A validator that knows the miner."""
    command = [sys.executable, *door, "--miner", MINER.ss58_address, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Process(process)
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("door", DOORS)
async def test_every_door_leads_to_the_validator(door: str) -> None:
    """A cycle through it, and SIGTERM shows the ledger."""
    with serving(DOORS[door], "a red cube") as validator:
        reply = await validator.cycle()
        status, lines = validator.end()

    assert reply.feedback is not None
    assert reply.feedback.task_fidelity_score == 1.0
    assert status == 0
    assert lines[-1] == "1 tasks: 1 accepted, 0 open, 0 ended twice; 0 early pulls"
    assert "a red cube" in lines[1]


async def test_it_ends_when_all_tasks_are_decided(tmp_path: Path) -> None:
    """The last reply still arrives; splats and figures are written."""
    report = tmp_path / "report.json"
    options = ["--tasks", 3, "--until-done", "--cooldown", 0, "--throttle", 0]
    options += ["-o", tmp_path / "splats", "--report", report]
    with serving(DOORS["command"], *options, "a", "b") as validator:
        replies = [await validator.cycle(results) for results in (None, None, "")]
        status, lines = validator.wait()

    figures = json.loads(report.read_text())
    assert [reply.dendrite.status_code for reply in replies] == [200, 200, 200]
    assert status == 0
    assert lines[-1].startswith("3 tasks: 2 accepted, 1 empty, 0 open")
    assert figures["verdicts"] == {"accepted": 2, "empty": 1}
    accepted = [task["id"] for task in figures["by_task"] if task["verdict"] == "accepted"]
    assert sorted(path.stem for path in (tmp_path / "splats").iterdir()) == sorted(accepted)


async def test_a_killed_validator_goes_on_where_it_was(tmp_path: Path) -> None:
    """With a state and a hotkey of its own, kill -9 loses neither tasks nor cooldowns."""
    key, state = tmp_path / "hotkey", tmp_path / "state.json"
    write_hotkey(key)
    options = ["--hotkey-file", key, "--state", state, "--cooldown", 1000]
    with serving(DOORS["command"], *options) as validator:
        pulled = await validator.call(PullTask())
        validator.end(signal.SIGKILL)
    with serving(DOORS["command"], *options) as validator:
        again = await validator.call(PullTask())
        reply = await validator.cycle()
        validator.end(signal.SIGKILL)
    with serving(DOORS["command"], *options) as validator:
        early = await validator.call(PullTask())
        _, lines = validator.end(signal.SIGINT)

    assert isinstance(pulled, PullTask)
    assert isinstance(again, PullTask)
    assert pulled.task == again.task
    assert isinstance(early, PullTask)
    assert (early.task, early.cooldown_until) == (None, reply.cooldown_until)
    assert lines[-1] == "1 tasks: 1 accepted, 0 open, 0 ended twice; 1 early pulls"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--miner", "5xyz"],
        ["--miner", MINER.ss58_address, "--peers", "peers.toml"],
        ["--peers", "/nowhere.toml"],
        ["--miner", MINER.ss58_address, "--until-done"],
        ["--miner", MINER.ss58_address, "--cooldown", "5", "--throttle", "6"],
        ["--miner", MINER.ss58_address, "--hotkey-file", "/nowhere"],
        ["--miner", MINER.ss58_address, "--image", "/nowhere.png"],
        ["--miner", MINER.ss58_address, "--prompts", "/nowhere.txt"],
        ["--miner", MINER.ss58_address, "--state", "/proc/self/cmdline"],
        ["--miner", MINER.ss58_address, "--host", "192.0.2.1", "--port", "1"],
        ["--miner", MINER.ss58_address, "-o", "/dev/null/x"],
    ],
)
def test_mistakes_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the user can mend is one line on stderr."""
    status = main(["validator-serve", *arguments])

    told = capsys.readouterr()
    assert status != 0
    assert told.err.count("\n") == 1
    assert told.err.startswith("miner: ")

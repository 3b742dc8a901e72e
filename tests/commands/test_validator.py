"""The test validator, in this process and as the script operators start."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miner import encoder
from miner.admission.peers import Peer
from miner.admission.signature import write_hotkey
from miner.cli import main
from miner.errors import QueueFull
from miner.network.axon import Handler
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import Synapse
from tests.conformance.our_miner import Miner, our_miner
from tests.encoder.splats import plausible

ROOT = Path(__file__).parents[2]
SPLAT = plausible(7, 0)
SS58 = "5CA3onFpA75kRSgNkF6twsDeumSA5NhLhxQWSdraSEL8vScn"


class Splats:
    """Answers every request with the same small splat; refuses the prompt "full"."""

    def __init__(self) -> None:
        self.seen: list[tuple[Generate3D, Peer]] = []

    def handlers(self) -> dict[type[Synapse], Handler]:
        """For an axon."""
        return {Generate3D: self.generate, TGTask: self.take, TGPoll: self.poll}

    async def generate(self, synapse: Generate3D, peer: Peer) -> Generate3D:
        self.seen.append((synapse.model_copy(), peer))
        if synapse.prompt == "full":
            raise QueueFull("64 jobs wait already")
        synapse.results = base64.b64encode(encoder.encode(SPLAT, synapse.format)).decode()
        synapse.generator = "stub"
        return synapse

    async def take(self, synapse: TGTask, peer: Peer) -> TGTask:
        synapse.status = "IN QUEUE"
        return synapse

    async def poll(self, synapse: TGPoll, peer: Peer) -> TGPoll:
        synapse.status = "DONE"
        synapse.results = base64.b64encode(encoder.encode(SPLAT, "spz")).decode()
        return synapse


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    """The key files of two validators."""
    return [tmp_path / "keys" / name for name in ("one", "two")]


@pytest.fixture
def splats() -> Splats:
    """What the miner does."""
    return Splats()


@pytest.fixture
async def miner(keys: list[Path], splats: Splats) -> AsyncIterator[Miner]:
    """A miner that knows those validators."""
    hotkeys = [write_hotkey(path).ss58_address for path in keys]
    async with our_miner(handlers=splats.handlers(), validators=hotkeys) as listening:
        yield listening


async def run(miner: Miner, *arguments: object) -> int:
    """The command in a thread: the miner has this one."""
    whole = ["validator", "--axon", miner.address, "--miner", miner.hotkey]
    return await asyncio.to_thread(main, [*whole, *map(str, arguments)])


async def test_splats_are_written_and_told(
    miner: Miner, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prompt has its line and its file; the figures go to a report."""
    out, report = tmp_path / "out", tmp_path / "report.json"
    options = ["--hotkey-file", keys[0], "-o", out, "--report", report]

    status = await run(miner, *options, "a red cube", "Würfel")

    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(report.read_text())
    assert status == 0
    assert [path.name for path in sorted(out.iterdir())] == [
        "0000-a-red-cube.spz",
        "0001-würfel.spz",
    ]
    assert len(encoder.load(out / "0000-a-red-cube.spz")) == 7
    assert lines[1].startswith("a red cube")
    assert lines[-1].startswith("2 of 2 splats in ")
    assert figures["statuses"] == {"200": 2}
    assert set(figures["latency_seconds"]) == {"min", "p50", "p95", "p99", "max"}


async def test_tasks_are_pushed_and_polled(
    miner: Miner, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The subnet's push pair ends in the same files."""
    out = tmp_path / "out"

    status = await run(miner, "--hotkey-file", keys[0], "--protocol", "tgtask", "-o", out, "a cube")

    assert status == 0
    assert len(encoder.load(out / "0000-a-cube.spz")) == 7


async def test_a_load_varies_seeds_and_validators(
    miner: Miner, keys: list[Path], splats: Splats, capsys: pytest.CaptureFixture[str]
) -> None:
    """No two requests are equal, hotkeys take turns, and only figures are printed."""
    options = ["--requests", "60", "--concurrency", "8", "--seed", "5", "--rate", "2000"]

    status = await run(miner, *options, "--hotkey-file", keys[0], "--hotkey-file", keys[1], "a")

    assert status == 0
    assert sorted(synapse.seed for synapse, _ in splats.seen) == list(range(5, 65))
    assert len({peer.hotkey for _, peer in splats.seen}) == 2
    assert capsys.readouterr().out.startswith("60 of 60 splats in ")


async def test_a_picture_is_asked_with(miner: Miner, keys: list[Path], splats: Splats) -> None:
    """The file's bytes travel as base64 in place of a prompt; what is in it the miner judges."""
    picture = keys[0].parent / "picture.png"
    picture.write_bytes(b"\x89PNG")

    status = await run(miner, "--hotkey-file", keys[0], "--image", picture, "--format", "ply")

    asked = splats.seen[0][0]
    assert status == 0
    assert (asked.prompt, asked.image, asked.format) == (None, "iVBORw==", "ply")


async def test_what_failed_is_in_the_table_and_the_exit_status(
    miner: Miner, keys: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal has its status and reason; one is enough for an exit status other than 0."""
    status = await run(miner, "--hotkey-file", keys[0], "full", "a cube")

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert "503" in lines[1]
    assert lines[1].endswith("64 jobs wait already")
    assert lines[-1].startswith("1 of 2 splats")


async def test_a_new_hotkey_is_a_stranger(miner: Miner, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key file the requests are signed all the same, by nobody the miner knows."""
    status = await run(miner, "a cube")

    assert status == 1
    assert " 403 " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--axon", "127.0.0.1", "--miner", SS58, "a"],
        ["--axon", "127.0.0.1:99999", "--miner", SS58, "a"],
        ["--axon", "a b:1", "--miner", SS58, "a"],
        ["--axon", "127.0.0.1:1", "--miner", "nobody", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--protocol", "smoke", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--format", "obj", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--requests", "0", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--image", "/nowhere.png"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--image", "/dev/null", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--prompts", "/nowhere.txt"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--hotkey-file", "/nowhere", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "-o", "/dev/null/x", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "--report", "/nowhere/x", "a"],
        ["--axon", "127.0.0.1:1", "--miner", SS58, "\udcff"],
    ],
)
def test_mistakes_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the user can mend is one line on stderr, before anything is sent."""
    status = main(["validator", *arguments])

    told = capsys.readouterr()
    assert status != 0
    assert told.err.count("\n") == 1
    assert told.err.startswith("miner: ")
    assert told.out == ""


@pytest.mark.parametrize("how", [["neurons/validator.py"], ["-m", "neurons.validator"]])
def test_both_doors_open(how: list[str]) -> None:
    """As a script its folder holds a ``miner.py``, which must not be taken for the package."""
    done = subprocess.run(
        [sys.executable, *how, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "signed requests" in done.stdout


def test_the_script_runs_from_anywhere(tmp_path: Path) -> None:
    """Operators call it by its whole path."""
    done = subprocess.run(
        [sys.executable, ROOT / "neurons" / "validator.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr

"""``miner ctl`` against a control socket: one clear line, or JSON, and an exit status."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from miner.commands.ctl import NOT_READY, ctl
from miner.commands.identity_table import HEADINGS
from miner.errors import ControlError
from miner.network.chain_reading import ChainState, Standing
from miner.network.control import serve_control
from tests.network.operator_fakes import FakeDaemon, FakeIdentity, FakeView


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[FakeDaemon]:
    yield FakeDaemon(FakeView())


@pytest_asyncio.fixture
async def folder(daemon: FakeDaemon) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        async with serve_control(Path(name), daemon.view, daemon):
            yield Path(name)


async def run(folder: Path, *arguments: str) -> int:
    """The exit status of ``miner ctl`` with these arguments, in a thread as it blocks."""
    given = [*arguments, "--state-dir", str(folder)]
    status = await asyncio.to_thread(ctl, given, standalone_mode=False)
    return status or 0


async def test_status_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Readiness, generator, queue, workers and uptime, and 0 while work is taken."""
    assert await run(folder, "status") == 0
    out = capsys.readouterr().out
    assert out.startswith("ready; triposr on cpu; 3 waiting, 1 running; worker 0 busy; up ")
    assert out.count("\n") == 1


async def test_the_generator_is_moved_by_hand(
    folder: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rollback and restore say where new jobs go, and until when."""
    daemon.view.rollback = {"state": "closed", "steps": []}
    assert [await run(folder, *words) for words in (["rollback"], ["restore"])] == [0, 0]
    await run(folder, "restore", "--hold")

    assert capsys.readouterr().out.splitlines() == [
        "new jobs go to dreamgaussian until restore",
        "new jobs go to triposr until it fails",
        "new jobs go to triposr until restore",
    ]


async def test_the_precision_is_changed_by_hand(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says what each part is in now, with the plan's warnings."""
    assert await run(folder, "precision", "fp8") == 0

    told = "precision fp8; transformer fp8 resident; as far as it goes"
    assert capsys.readouterr().out.strip() == told


async def test_a_precision_that_does_not_load_is_an_error(folder: Path) -> None:
    """The command fails with the reason, and its exit status is that of a refusal."""
    with pytest.raises(ControlError, match="did not warm up") as caught:
        await run(folder, "precision", "nf4")

    assert caught.value.exit_code == 69


async def test_status_tells_of_the_breaker(
    folder: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what is not as usual is in the line."""
    daemon.view.rollback = {"state": "half_open", "cause": "cool_down", "steps": ["fewer_steps"]}
    await run(folder, "status")

    assert "; breaker half open (cool_down) with fewer_steps; " in capsys.readouterr().out


async def test_status_says_why_not(
    folder: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """While no work is taken the line names the reasons, and the status is for scripts."""
    daemon.view.queue.accepting = False
    assert await run(folder, "status") == NOT_READY
    assert capsys.readouterr().out.startswith("not ready (draining); ")


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (None, "netuid 17 not read yet"),
        (Standing(False, 5, 256), "not registered on netuid 17"),
        (Standing(True, 5, 256, 42, 3), "uid 42 on netuid 17, rank 3 of 256"),
    ],
)
async def test_status_says_how_we_stand(
    folder: Path,
    daemon: FakeDaemon,
    capsys: pytest.CaptureFixture[str],
    standing: Standing | None,
    words: str,
) -> None:
    """Where a chain is watched, the line tells our place in the subnet."""
    daemon.view.identities[0].chain = ChainState("finney", 17, standing)
    assert await run(folder, "status") == 0
    assert f"; {words}; up " in capsys.readouterr().out


async def test_status_has_a_line_for_each_of_several(
    folder: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the first line stands how each hotkey is, and why one does not serve."""
    chain = ChainState("finney", 17, Standing(True, 5, 256, 42, 3))
    daemon.view.identities = [
        FakeIdentity("north", "5NorthNorthNorth", chain=chain, peers=None),
        FakeIdentity("southern", troubled=("not registered\x1b[2J", "peers are old"), waiting=12),
    ]
    assert await run(folder, "status") == 0
    line, heading, north, south = capsys.readouterr().out.splitlines()

    assert "; 1 of 2 identities ready; up " in line
    assert heading.split() == [name for name in HEADINGS if name != "read"]  # known of neither
    assert north.split("  ")[0] == "north" and north.endswith("uid 42 on 17, rank 3 of 256  ready")
    assert south.endswith("not registered [2J (and 1 more)") and " 12 " in south
    assert len({row.index(word) for row, word in ((heading, "state"), (north, "ready"))}) == 1


async def test_json_is_the_whole_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives programs everything."""
    await run(folder, "status", "--json")
    assert json.loads(capsys.readouterr().out)["journal"]["unfinished"] == 1


async def test_verbs_say_what_came_of_them(
    folder: Path, daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each verb ends in one line."""
    for verb in ("reload", "drain", "stop"):
        assert await run(folder, verb) == 0
    assert capsys.readouterr().out.splitlines() == [
        "now holds: admission.min_stake; after a restart: axon.port",
        "drained: no work is left",
        "stopping",
    ]
    assert daemon.stopped


async def test_a_refusal_is_an_error_of_ours(folder: Path, daemon: FakeDaemon) -> None:
    """The command line turns it into one line and an exit status."""
    daemon.broken_settings = True
    with pytest.raises(ControlError, match="must be a number") as refused:
        await run(folder, "reload")
    assert refused.value.exit_code == 69

"""``miner top``: what a frame shows at each width, and how the live view begins and ends."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from miner.cli import main
from miner.commands.top import watch
from miner.commands.top_frame import Reading, frame
from miner.errors import ControlError
from miner.executor import WorkerHealth
from miner.gpu.telemetry import GpuReading
from miner.network.chain_reading import ChainState, Standing
from miner.network.control import serve_control
from miner.network.control_client import ask
from tests.network.operator_fakes import JOB_ID, FakeDaemon, FakeIdentity, FakeRecord, FakeView

NASTY = "a [red]cube\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}"
GPU = GpuReading(0, "GPU-0", "NVIDIA H100", 30 * 2**30, 80 * 2**30, 0.93, 64.0, 410.0)
BREAKER = {"state": "open", "cause": "failures", "offered": True, "steps": ["fewer_steps"]}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state directory whose path is short, as sockets need it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


async def overview(folder: Path, view: FakeView) -> dict[str, Any]:
    """What the control socket answers for such a daemon."""
    async with serve_control(folder, view, FakeDaemon(view)):
        return await asyncio.to_thread(ask, folder, "GET", "overview")


def drawn(reading: Reading, columns: int, lines: int = 50) -> str:
    console = Console(width=columns, height=lines, file=io.StringIO(), markup=False, record=True)
    console.print(frame(reading, columns, lines))
    return console.export_text()


async def test_a_frame_shows_state_queue_jobs_gpu_and_validators(folder: Path) -> None:
    """Whoever looks sees what is in use, what runs, what was done, for whom, and on what."""
    view = FakeView(rollback=BREAKER)
    view.journal.records[JOB_ID] = FakeRecord(prompt="a blue car", score=0.73)
    answer = await overview(folder, view)
    text = drawn(Reading(answer, gpus=[GPU], at=1010.0), 180)

    for part in ("READY", "mini on cpu", "triposr", "open (failures)", "fewer_steps", "3, 1 run"):
        assert part in text, part
    for part in ("text_to_image 1/4", "a blue car", "done", "0.73", "1.0 s", "NVIDIA H100"):
        assert part in text, part
    for part in ("30.0 GiB of 80.0 GiB", "93% busy", "64 °C", "410 W", "1 hotkeys known", "worker"):
        assert part in text, part


async def test_workers_that_differ_say_what_they_hold(folder: Path) -> None:
    """Where all hold the same, nothing is said of it."""
    view = FakeView()
    alike = [WorkerHealth(name, "ready", generators=("triposr",)) for name in "01"]
    view.executor.workers = tuple(alike)
    quiet = drawn(Reading(await overview(folder, view), at=1010.0), 180)
    view.executor.workers = (alike[0], WorkerHealth("1", "busy", generators=("dreamgaussian",)))
    told = drawn(Reading(await overview(folder, view), at=1010.0), 180)

    assert "with triposr" not in quiet
    assert "ready with triposr" in told
    assert "busy with dreamgaussian" in told


@pytest.mark.parametrize("columns", [40, 60, 80, 110, 200])
async def test_a_frame_fits_its_terminal(folder: Path, columns: int) -> None:
    """No line is wider than the terminal, and the prompt and its state are there at each width."""
    view = FakeView(asked=[{"hotkey": "5F" * 20, "stake": 5000.0, "state": "cooldown"}])
    view.journal.records[JOB_ID] = FakeRecord(prompt="cube")
    answer = await overview(folder, view)
    text = drawn(Reading(answer, gpus=[GPU], at=1010.0), columns)

    assert max(map(len, text.splitlines())) <= columns
    assert "cube" in text and "done" in text and "READY" in text


def of_three() -> FakeView:
    """A daemon of three hotkeys; one of them does not serve."""
    chain = ChainState("finney", 17, Standing(True, 5, 256, 42, 3))
    taken = ("cannot listen on 127.0.0.1:8091: it is taken", "not registered")
    view = FakeView(
        identities=[
            FakeIdentity("north", "5NorthNorthNorth", chain=chain),
            FakeIdentity("south", "5SouthSouthSouth", troubled=taken),
            FakeIdentity("west", "5WestWestWest", waiting=7),
        ]
    )
    for name in ("north", "west"):
        job = FakeRecord(id=name, identity=name, requester="5Val", prompt=f"a cube of {name}")
        view.journal.records[name] = job
    view.journal.records[JOB_ID] = FakeRecord(prompt="a mug of mine", identity="main")
    return view


async def test_several_identities_have_a_line_each(folder: Path) -> None:
    """Of each the frame has name, key, standing, peers, waiting jobs, and what is in its way."""
    view = of_three()
    text = drawn(Reading(await overview(folder, view), at=1010.0), 180)

    assert "2 of 3 identities" in text.splitlines()[0]
    north, south, west = (row for row in text.splitlines() if "…" in row and "5" in row[:20])
    for part in ("north", "5NorthNort…", "uid 42 on 17, rank 3 of 256", "1", "ready"):
        assert part in north, part
    assert "127.0.0.1:8091: it is taken (and 1 more)" in south
    assert "7" in west and "ready" in west


async def test_jobs_and_validators_say_whose_they_are(folder: Path) -> None:
    """Where there are several, a job has its identity, and a validator the one that asks it."""
    view = of_three()
    names = ("north",) * 5 + ("west",) * 5
    view.asked = [{"identity": name, "hotkey": f"5V{name}", "state": "ready"} for name in names]
    rows = drawn(Reading(await overview(folder, view), at=1010.0), 180).splitlines()

    for name in ("north", "west"):
        [job] = [row for row in rows if f"a cube of {name}" in row]
        assert name in job.split("a cube")[0]
        assert len([row for row in rows if f"5V{name}" in row]) == 3
    [own] = [row for row in rows if "a mug of mine" in row]
    assert "main" not in own


@pytest.mark.parametrize("columns", [40, 60, 80, 110, 200])
async def test_several_identities_fit_the_terminal(folder: Path, columns: int) -> None:
    """Names and states are there at each width, and no line is wider than the terminal."""
    answer = await overview(folder, of_three())
    text = drawn(Reading(answer, gpus=[GPU], at=1010.0), columns)

    assert max(map(len, text.splitlines())) <= columns
    assert "2 of 3 ready" in text
    for name, state in (("north", "ready"), ("south", "cannot"), ("west", "ready")):
        assert state in next(row for row in text.splitlines() if name in row)


async def test_one_identity_is_not_spoken_of(folder: Path) -> None:
    """Where there is only one the frame has neither the panel nor the column."""
    view = FakeView(asked=[{"identity": "main", "hotkey": "5V", "state": "ready"}])
    view.journal.records[JOB_ID] = FakeRecord(requester="5Val")
    text = drawn(Reading(await overview(folder, view), at=1010.0), 180)

    assert "identit" not in text and "main" not in text


async def test_text_of_others_moves_no_cursor(folder: Path) -> None:
    """A prompt with escapes and markup is shown as plain text."""
    view = FakeView()
    view.journal.records[JOB_ID] = FakeRecord(prompt=NASTY)
    text = drawn(Reading(await overview(folder, view), at=1010.0), 200)

    assert "a [red]cube [2J" in text
    assert "\x1b" not in text and "\N{RIGHT-TO-LEFT OVERRIDE}" not in text


async def test_why_it_is_not_ready_stands_at_the_top(folder: Path) -> None:
    """The reasons of ``/readyz`` are in the frame."""
    view = FakeView(troubled=("the peers are 3 hours old",))
    text = drawn(Reading(await overview(folder, view), at=1010.0), 100)

    assert "NOT READY" in text.splitlines()[0]
    assert "the peers are 3 hours old" in text


def test_a_daemon_that_is_gone_is_waited_for() -> None:
    """Frames go on while nobody answers, and say so, until somebody quits."""
    console = Console(width=80, height=20, file=io.StringIO(), force_terminal=True)
    turns = iter((False, False, True))
    waited: list[float] = []

    def read() -> Reading:
        raise ControlError("no daemon is running with the state directory /x")

    def quits(seconds: float) -> bool:
        waited.append(seconds)
        return next(turns)

    watch(console, read, 0.5, quits)

    assert waited == [0.5, 0.5, 0.5]
    assert "no daemon is running" in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_frame_needs_a_daemon(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody answers, one frame is an error with the exit status of the other commands."""
    assert main(["top", "--once", "--state-dir", str(folder)]) == 69
    assert "no daemon is running" in capsys.readouterr().err


async def test_a_frame_becomes_a_picture(folder: Path, tmp_path: Path) -> None:
    """``--svg`` writes the frame as SVG; without a terminal one frame is printed."""
    view = FakeView()
    view.journal.records[JOB_ID] = FakeRecord(prompt="a-blue-car")
    picture = tmp_path / "top.svg"
    async with serve_control(folder, view, FakeDaemon(view)):
        arguments = ["top", "--state-dir", str(folder), "--svg", str(picture)]
        assert await asyncio.to_thread(main, arguments) == 0

    assert picture.read_text().startswith("<svg") and "a-blue-car" in picture.read_text()


async def test_q_ends_the_live_view(folder: Path) -> None:
    """On a terminal it shows frames until q is pressed, and leaves the terminal as it was."""
    ours, theirs = pty.openpty()
    view = FakeView()
    seen = b""
    try:
        async with serve_control(folder, view, FakeDaemon(view)):
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "miner",
                    "top",
                    "--state-dir",
                    str(folder),
                    "--interval",
                    "0.2",
                ),
                **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
                env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
            )
            async with asyncio.timeout(60):
                while b"READY" not in seen:
                    seen += await asyncio.to_thread(os.read, ours, 65536)
                os.write(ours, b"q")
                draining = asyncio.create_task(asyncio.to_thread(_read_all, ours))
                assert await process.wait() == 0
        os.close(theirs)
        theirs = -1
        seen += await draining
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)

    assert b"\x1b[?1049h" in seen and b"\x1b[?1049l" in seen


def _read_all(descriptor: int) -> bytes:
    """Until the other side is closed."""
    found = b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            return found
        if not data:
            return found
        found += data

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
from miner.network.control import serve_control
from miner.network.control_client import ask
from tests.network.operator_fakes import JOB_ID, FakeDaemon, FakeRecord, FakeView

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

"""``miner top``: the running daemon of this host, live, for people on a terminal.

It asks over the control socket and reads the GPUs itself; it changes nothing, and a daemon that
restarts is waited for. q or Ctrl-C ends it.
"""

from __future__ import annotations

import contextlib
import io
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from miner.commands.top_frame import Reading, frame
from miner.errors import ControlError, OutputError
from miner.gpu.telemetry import Telemetry
from miner.network.control_client import ask
from miner.settings import load

QUIT_KEYS = ("q", "Q", "\x03", "\x04")
PIPE_COLUMNS, PIPE_LINES = 120, 50
"""Of a frame that goes to no terminal."""


def top(
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="The daemon's; else that of the settings."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="See config/miner.toml.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds between two frames.")
    ] = 1.0,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one frame as a picture and end.")
    ] = None,
) -> None:
    """Watch the running daemon: state, GPU, queue, last jobs, validators; q ends it.

    Without a terminal, with --once or --svg it is one frame, and a daemon that does not answer is
    an error.
    """
    folder = state_dir or load(config=config_file).settings.daemon.state_dir
    with Telemetry() as telemetry:

        def read() -> Reading:
            answer = ask(folder, "GET", "overview")
            return Reading(answer, gpus=telemetry.read(), at=time.time())

        console = _console(svg is not None)
        if once or svg is not None or not console.is_terminal:
            _print_once(console, read(), svg)
        else:
            watch(console, read, interval)


def watch(
    console: Console,
    read: Callable[[], Reading],
    interval_seconds: float,
    quits: Callable[[float], bool] | None = None,
) -> None:
    """Shows frame after frame until somebody quits.

    Args:
        console: a terminal.
        read: asks for one reading; its ``ControlError`` becomes a frame that says so.
        interval_seconds: between two frames.
        quits: waits so long for somebody to quit, and says whether; the keyboard when not given.
    """
    with contextlib.ExitStack() as stack:
        quits = quits or stack.enter_context(_keyboard())
        live = stack.enter_context(
            Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")
        )
        while True:
            columns, lines = console.size
            live.update(frame(_tried(read), columns, lines), refresh=True)
            if quits(interval_seconds):
                return


def _tried(read: Callable[[], Reading]) -> Reading:
    try:
        return read()
    except ControlError as error:
        return Reading(None, str(error), at=time.time())


@contextlib.contextmanager
def _keyboard() -> Iterator[Callable[[float], bool]]:
    """Keys as they are pressed, without echo; the terminal is as before when the block ends."""
    if not sys.stdin.isatty():

        def sleep(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield sleep
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            key = sys.stdin.read(1)
            if not key or key in QUIT_KEYS:
                return True
    return False


def _console(recording: bool) -> Console:
    """Without markup: a prompt with brackets is shown as it is."""
    recorded = io.StringIO() if recording else None
    console = Console(file=recorded, record=recording, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.size = ConsoleDimensions(PIPE_COLUMNS, PIPE_LINES)
    return console


def _print_once(console: Console, reading: Reading, svg: Path | None) -> None:
    columns, lines = console.size
    console.print(frame(reading, columns, lines))
    if svg is None:
        return
    try:
        svg.write_text(console.export_svg(title="miner top"), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {svg}: {error.strerror}") from error

"""The demonstration of pulling: a daemon and a validator by the subnet's rules, both killed.

The validator hands out ten tasks, texts and pictures. In the middle both processes are killed
without warning and started again. At the end the validator's own ledger says what it got.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from PIL import Image, ImageDraw

from miner import encoder, files
from miner.admission.signature import write_hotkey
from miner.commands.console import Reporter, result
from miner.commands.demo_miner import running, write_settings
from miner.errors import ControlError

TASKS = 10
PROMPTS = (
    "a red cube",
    "a wooden chair",
    "a blue car",
    "a white mushroom with a red cap",
    "a green tree",
    "a yellow mug",
    "a purple ball",
    "an orange cone",
)
"""Eight of the ten tasks; pictures are the rest, as on the subnet one in five."""
KILL_AFTER = 4
"""Tasks that are decided when both are killed; the next is under way."""
LIMIT_SECONDS = 300.0
POLL_SECONDS = 0.05
RULES = {"cooldown": 1, "throttle": 1, "penalty": 1, "lock": 1}
"""Seconds; the subnet's rules are the same with 300, 30, 600 and 30."""
STAKE = 50_000.0
PICTURE_PX = 256
COLORS = {"ball": (200, 40, 40), "box": (40, 80, 200)}


def demo_pull(output: Path, reporter: Reporter) -> None:
    """Runs the demonstration and prints the validator's ledger.

    Raises:
        typer.Exit: with status 1 where a task was lost, refused or asked for too early.
    """
    files.make_folder(output)
    with tempfile.TemporaryDirectory(prefix="miner-demo-") as name:
        folder = Path(name)
        keypair = write_hotkey(folder / "validator" / "hotkey")
        port = _free_port()
        peers = [(keypair, STAKE)]
        settings, hotkey = write_settings(folder, peers, pull_from=f"127.0.0.1:{port}")
        validator = _Validator(folder / "validator", hotkey, port, output)
        with validator.running() as first:
            reporter.note(f"a validator has {TASKS} tasks; starting a daemon that asks for them")
            with running(settings, hotkey, output / "daemon.log") as miner:
                validator.wait(KILL_AFTER, first)
                reporter.note(f"{validator.decided()} tasks are decided: killing both")
                miner.process.kill()
                first.kill()
        with validator.running() as second:
            reporter.note("both start again")
            with running(settings, hotkey, output / "daemon-again.log"):
                told = _last_words(second)
        _show(told, validator, output, reporter)


class _Validator:
    """A validator's process, its ledger and what it accepted."""

    def __init__(self, folder: Path, miner: str, port: int, output: Path) -> None:
        self._ledger = folder / "ledger.json"
        self.report = output / "ledger.json"
        self.splats = folder / "splats"
        pictures = [_picture(folder / f"{name}.png", name) for name in COLORS]
        options = {"miner": miner, "hotkey-file": folder / "hotkey", "port": port, **RULES}
        options |= {"tasks": TASKS, "seed": "demo", "state": self._ledger}
        options |= {"output": self.splats, "report": self.report}
        words = [f"--{name}={value}" for name, value in options.items()]
        words += [f"--image={picture}" for picture in pictures]
        start = [sys.executable, "-m", "miner", "validator-serve", "--until-done"]
        self._command = [*start, *words, *PROMPTS]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """A new process with the ledger of the last one; it does not outlive the block."""
        with subprocess.Popen(  # noqa: S603 - our own program
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def decided(self) -> int:
        """Tasks with a verdict so far."""
        if not self._ledger.exists():
            return 0
        records = json.loads(self._ledger.read_bytes())["records"]
        return sum(record["verdict"] is not None for record in records.values())

    def wait(self, count: int, process: subprocess.Popen[bytes]) -> None:
        """Returns when so many tasks are decided.

        Raises:
            ControlError: the validator ended before, or it took too long.
        """
        until = time.monotonic() + LIMIT_SECONDS
        while self.decided() < count:
            if process.poll() is not None or time.monotonic() > until:
                raise ControlError("the validator did not get its results; see the daemon's log")
            time.sleep(POLL_SECONDS)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """What a validator that ends by itself has printed.

    Raises:
        ControlError: it did not end in time.
    """
    try:
        return process.communicate(timeout=LIMIT_SECONDS)[0].decode()
    except subprocess.TimeoutExpired as error:
        raise ControlError("not all tasks came back in time; see the daemon's log") from error


def _show(told: str, validator: _Validator, output: Path, reporter: Reporter) -> None:
    for line in told.splitlines():
        result(line)
    splats = sorted(validator.splats.glob("*.spz"), key=lambda path: path.stat().st_mtime)
    with reporter.task("drawing the splats"):
        from miner.rendering import sheets

        picture = sheets.rows([encoder.load(path) for path in splats], size=96)
        with files.replacing(output / "sheet.png") as partial:
            picture.save(partial)
    result(f"look at {output / 'sheet.png'}: what the validator accepted, a row each")
    faults = _faults(json.loads(validator.report.read_bytes()))
    for fault in faults:
        reporter.note(f"fault: {fault}")
    if faults:
        raise typer.Exit(1)
    result(f"all {TASKS} accepted, none lost, none twice, no cooldown violated; {output}")


def _faults(ledger: dict[str, object]) -> Sequence[str]:
    """What should not be in a validator's ledger."""
    wanted = {
        "tasks": TASKS,
        "verdicts": {"accepted": TASKS},
        "open": 0,
        "ended_twice": 0,
        "early_pulls": 0,
    }
    return [f"{key}: {ledger[key]}" for key, value in wanted.items() if ledger[key] != value]


def _free_port() -> int:
    """A port that nobody listens on now; the restarted validator needs the same one again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _picture(path: Path, name: str) -> Path:
    """A plain object on white, drawn from its front and a little above."""
    side, color = PICTURE_PX, COLORS[name]
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    if name == "ball":
        for step in range(40):
            shade = 0.55 + 0.45 * step / 39
            radius = side * 0.38 * (1 - step / 60)
            middle = side / 2 - step * 0.4
            box = (middle - radius, middle - radius, middle + radius, middle + radius)
            draw.ellipse(box, tuple(int(channel * shade) for channel in color))
    else:
        low, high, back = side * 0.2, side * 0.8, side * 0.12
        draw.rectangle((low, low + back, high, high), color)
        top = [(low, low + back), (low + back, low), (high - back, low), (high, low + back)]
        draw.polygon(top, tuple(min(255, int(channel * 1.25)) for channel in color))
    files.make_folder(path.parent)
    picture.save(path)
    return path

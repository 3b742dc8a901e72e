"""A daemon of one's own, for a demonstration: throw-away keys, free ports, its own folder.

Starts it as a process, waits until it is ready, and ends it as an operator would.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miner.admission.signature import Signer, write_hotkey
from miner.errors import ControlError
from miner.files import make_folder, write_atomic
from miner.network.control_client import ask
from miner.settings import worker_environment

START_SECONDS = 300.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.1

PULL_SETTINGS = """
[pull]                    # the validator of a demonstration has cooldowns of a second
idle_seconds = 1.0
retry_seconds = 1.0
lost_reply_seconds = 5.0
"""
PROGRAM = ("miner", "run")
BREAKABLE = ("miner.commands.demo_faults",)


@dataclass(frozen=True)
class DemoMiner:
    """A daemon that is ready.

    Attributes:
        hotkey: its ss58 address.
        addresses: of its servers by name, as URLs.
        seconds: from the start of the process until it was ready.
        process: for signals.
    """

    hotkey: str
    addresses: Mapping[str, str]
    seconds: float
    process: subprocess.Popen[bytes]


def write_settings(
    folder: Path, validators: Sequence[tuple[Signer, float]], pull_from: str | None = None
) -> tuple[Path, str]:
    """A folder with keys, peers and settings for a daemon of this host alone.

    Args:
        folder: exists; everything lies in it.
        validators: the hotkeys that it serves, each with its stake.
        pull_from: "ip:port" where the first validator serves; the daemon then asks it for tasks
            and opens no door but its pages.

    Returns:
        The file of settings, and the miner's hotkey.
    """
    miner = write_hotkey(folder / "hotkey")
    peers = "".join(
        f'[[peer]]\nhotkey = "{signer.ss58_address}"\nuid = {uid}\nstake = {stake}\n'
        "validator_permit = true\n"
        + (f'axon = "{pull_from}"\n' if pull_from and uid == 0 else "")
        + "\n"
        for uid, (signer, stake) in enumerate(validators)
    )
    write_atomic(folder / "peers.toml", peers.encode())
    quoted = {name: json.dumps(str(folder / name)) for name in ("hotkey", "state")}
    intakes = "" if pull_from is None else 'intakes = ["pull", "http"]\n'
    chain = json.dumps(f"static:{folder / 'peers.toml'}")
    settings = (
        f"state_dir = {quoted['state']}\n{intakes}\n[chain]\nnetwork = {chain}\n\n"
        f"[wallet]\nhotkey_file = {quoted['hotkey']}\n\n"
        '[axon]\nhost = "127.0.0.1"\nport = 0\n\n[api]\nport = 0\n\n[metrics]\nport = 0\n'
    )
    if pull_from is not None:
        settings += PULL_SETTINGS
    write_atomic(folder / "miner.toml", settings.encode())
    return folder / "miner.toml", miner.ss58_address


@contextmanager
def running(settings: Path, hotkey: str, log: Path, breakable: bool = False) -> Iterator[DemoMiner]:
    """A daemon with these settings, from ready until the block ends; then it is told to stop.

    Args:
        settings: as ``write_settings`` made it.
        hotkey: the daemon's.
        log: where its output goes.
        breakable: whether its generators can be made to fail; see ``demo_faults.py``. The switches
            are then in the folder of the settings.

    Raises:
        ControlError: it ended before it was ready, or took too long; the text quotes its last line.
    """
    make_folder(log.parent)
    program = BREAKABLE if breakable else PROGRAM
    command = [sys.executable, "-m", *program, "--config", str(settings.resolve())]
    began = time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own program
            command,
            cwd=settings.parent if breakable else None,
            env=worker_environment() if breakable else None,  # finds the package from any folder
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            status = _until_ready(process, settings.parent / "state", log, began)
            seconds = time.monotonic() - began
            yield DemoMiner(hotkey, status["addresses"], seconds, process)
        finally:
            _stop(process)


def _until_ready(
    process: subprocess.Popen[bytes], state_dir: Path, log: Path, began: float
) -> dict[str, Any]:
    while time.monotonic() - began < START_SECONDS:
        if process.poll() is not None:
            raise ControlError(f"the daemon ended before it was ready: {_last_line(log)}")
        try:
            status = ask(state_dir, "GET", "status")
        except ControlError:
            status = {}
        if status.get("ready"):
            return status
        time.sleep(POLL_SECONDS)
    raise ControlError(f"the daemon was not ready after {START_SECONDS:g} s: {_last_line(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it said nothing, see {log}"

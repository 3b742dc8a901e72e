"""The daemon under test, as a process: on a chain in a file, with generators that can be broken.

python -m tests.soak.subject --config miner.toml     (started by ``Subject``, not by hand)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from miner.admission.signature import Signer
from miner.commands.demo_faults import switch
from miner.commands.demo_miner import write_settings
from miner.errors import ControlError
from miner.network.control_client import ask
from miner.settings import worker_environment
from tests.network.fake_chain import axon, graph

START_SECONDS = 300.0
STOP_SECONDS = 120.0
DISK_BYTES = 256 * 1024**2
FILLER = "filler"
BLOCK_BYTES = 1024**2

SETTINGS: Mapping[str, Any] = {
    "CHAIN__NETWORK": "local",
    "CHAIN__SYNC_SECONDS": 2,
    "CHAIN__RETRY_SECONDS": 0.5,
    "CHAIN__MAX_RETRY_SECONDS": 1,
    "ADMISSION__MAX_PEERS_AGE_SECONDS": 15,
    "JOURNAL__MAX_RESULT_BYTES": DISK_BYTES // 2,
    "QUEUE__DRAIN_SECONDS": 60,
    "WORKER__HANG_SECONDS": 10,
    "WORKER__HEARTBEAT_SECONDS": 0.5,
    "ROLLBACK__FAILURES": 2,
    "ROLLBACK__WINDOW_SECONDS": 60,
    "ROLLBACK__COOL_DOWN_SECONDS": 3,
    "ROLLBACK__MAX_COOL_DOWN_SECONDS": 10,
    "LOG__FORMAT": "json",
}
"""Clocks shorter than an operator's, so that minutes show what hours would."""


class Subject:
    """The daemon's folder, and the process in it.

    Attributes:
        hotkey: of the daemon.
        process: the present life; None before the first.
        own_disk: whether the state lies on a small disk of its own.
    """

    def __init__(self, folder: Path, validators: Sequence[Signer]) -> None:
        self.folder = folder
        self._settings, self.hotkey = write_settings(folder, [(one, 5000.0) for one in validators])
        self._validators = [one.ss58_address for one in validators]
        self._address = ("127.0.0.1", 9)
        self.process: asyncio.subprocess.Process | None = None
        self.own_disk = False
        self.lives = 0
        self.show_chain()

    @property
    def state_dir(self) -> Path:
        """Of the daemon."""
        return self.folder / "state"

    def address(self) -> tuple[str, int]:
        """Of the axon in this life, or in the last one."""
        return self._address

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[Subject]:
        """Started, until the block ends; nothing of it is left then."""
        self.state_dir.mkdir(exist_ok=True)
        self.own_disk = self._mount()
        try:
            await self.start()
            yield self
        finally:
            await self._end()
            if self.own_disk:
                await asyncio.to_thread(self._unmount)

    async def start(self) -> None:
        """A new life; returns once it is ready.

        Raises:
            RuntimeError: it ended, or was not ready in time; quotes its log.
        """
        command = [sys.executable, "-m", "tests.soak.daemon", "--config", str(self._settings)]
        names = {f"MINER_{name}": str(value) for name, value in SETTINGS.items()}
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env={**worker_environment(), **names},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.lives += 1
        until = time.monotonic() + START_SECONDS
        while not (status := await self.status()).get("ready"):
            if self.process.returncode is not None or time.monotonic() > until:
                raise RuntimeError(f"the daemon does not start: {self.log()[-2000:]}")
            await asyncio.sleep(0.1)
        host, _, port = status["addresses"]["axon"].removeprefix("http://").rpartition(":")
        self._address = (host, int(port))

    async def status(self) -> dict[str, Any]:
        """As ``miner ctl status``; empty while nobody answers."""
        try:
            return await asyncio.to_thread(ask, self.state_dir, "GET", "status", 2.0)
        except ControlError:
            return {}

    async def kill(self) -> None:
        """As a power cut would, with its workers left to notice."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """As an operator does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.returncode is None

    async def _end(self) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def show_chain(self, error: str | None = None) -> None:
        """Has the chain answer, or fail with this error."""
        rows = [(key, 5000.0, True, axon(), 0) for key in (*self._validators, self.hotkey)]
        answer = graph(*rows)
        if error is not None:
            answer["error"] = error
        partial = self.folder / "partial"
        partial.write_text(json.dumps(answer), encoding="utf-8")
        partial.replace(self.folder / "chain.json")

    def broken(self, generator: str) -> Path:
        """The file that breaks a generator while it is there."""
        return switch(self.folder, generator)

    def fill_disk(self) -> None:
        """Nothing more can be written by the daemon, until ``empty_disk``."""
        if not self.own_disk:
            self._limit_files(1)
            return
        with (
            (self.state_dir / FILLER).open("wb", buffering=0) as file,
            contextlib.suppress(OSError),
        ):
            while True:
                size = min(BLOCK_BYTES, shutil.disk_usage(self.state_dir).free or 1)
                file.write(bytes(size))

    def empty_disk(self) -> None:
        """There is room again."""
        if self.own_disk:
            (self.state_dir / FILLER).unlink(missing_ok=True)
        else:
            self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        """Files of the running daemon may grow no further than this; needs no rights."""
        assert self.process is not None
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        limit = hard if size == resource.RLIM_INFINITY else size
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def _mount(self) -> bool:
        """A small disk for the state, where we may."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(self.state_dir)]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    def _unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.state_dir)], check=False)

    def outcomes(self) -> dict[str, int]:
        """Jobs by state, from the journal's file."""
        with contextlib.closing(sqlite3.connect(self.state_dir / "journal.db")) as connection:
            return dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state"))

    def log(self) -> str:
        """All it said."""
        return (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")


def resident_bytes(pid: int | None) -> int | None:
    """Memory of a process; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return int(text.split("VmRSS:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return None

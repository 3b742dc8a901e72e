"""A real daemon as a process, with an engine of the tests, and validators that call it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from miner.admission.signature import Signer, new_hotkey
from miner.commands.demo_miner import write_settings
from miner.errors import ControlError
from miner.network.control_client import ask
from miner.network.dendrite import Dendrite
from miner.network.protocol import Generate3D, TGPoll, TGTask

PATIENCE_SECONDS = 60.0
"""For what a test waits for; no rule is about this number."""

VALIDATOR = new_hotkey(b"v" * 32)
OTHER = new_hotkey(b"o" * 32)

GENEROUS = {
    "admission": {
        "requests_per_second_per_hotkey": 1e6,
        "burst_per_hotkey": 1_000_000,
        "requests_per_second_per_address": 1e6,
        "burst_per_address": 1_000_000,
        # After a crash everything is refused that was signed up to so long after the next start.
        "future_skew_seconds": 0.01,
    },
    "worker": {
        "heartbeat_seconds": 0.1,
        "hang_seconds": 20.0,
        "restart_backoff_seconds": 0.05,
        "max_restart_backoff_seconds": 0.2,
    },
    "log": {"format": "json"},
}


class Running:
    """A daemon's folder and the process that is at work in it, if any.

    Attributes:
        folder: settings, keys, ``state`` and the engines' scratch folder.
        hotkey: the daemon's.
        module: what is run as the daemon.
    """

    module = "tests.fakes.daemon"

    def __init__(self, folder: Path, engine: str, **sections: Mapping[str, Any]) -> None:
        self.folder = folder
        self.engine = f"tests.fakes.loads:{engine}"
        self.process: asyncio.subprocess.Process | None = None
        self.settings, self.hotkey = write_settings(folder, [(VALIDATOR, 5000.0), (OTHER, 2000.0)])
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.log = folder / "log"
        self._sections = sections

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(x) for x in self.log.read_text().splitlines() if x.startswith("{")]

    async def start(self, ready: bool = True) -> None:
        """A new process; returns when it is ready."""
        command = [sys.executable, "-m", self.module, self.engine, "--config"]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, str(self.settings), stdout=log, stderr=log, env=self._environment()
            )
        if ready:
            await self.until(lambda: bool(self.status().get("ready")))

    def _environment(self) -> dict[str, str]:
        names = {"MINER_WEIGHTS": str(self.scratch)}
        for layer in (GENEROUS, self._sections):
            for section, keys in layer.items():
                for key, value in keys.items():
                    text = value if isinstance(value, str) else json.dumps(value)
                    names[f"MINER_{section}__{key}".upper()] = text
        return {**os.environ, **names}

    def status(self) -> dict[str, Any]:
        """As ``miner ctl status``; empty while nobody answers."""
        try:
            return ask(self.state_dir, "GET", "status")
        except ControlError:
            return {}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds; fails if the process ends before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                assert self.process is not None
                assert self.process.returncode is None, self.log.read_text()[-2000:]
                await asyncio.sleep(0.02)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; the exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()

    @property
    def address(self) -> str:
        """Of the axon, as a dendrite wants it."""
        return str(self.status()["addresses"]["axon"]).removeprefix("http://")

    def counted(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels; 0 where there is none."""
        with urlopen(f"{self.status()['addresses']['metrics']}/metrics", timeout=10) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def worker_pids(self) -> list[int]:
        """Processes of the workers, where they are up."""
        found = [worker["pid"] for worker in self.status().get("workers", [])]
        return [pid for pid in found if pid is not None]

    def outcomes(self) -> dict[str, int]:
        """Jobs by state, from the journal's file."""
        with contextlib.closing(sqlite3.connect(self.state_dir / "journal.db")) as connection:
            return dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state"))


@contextlib.asynccontextmanager
async def daemon(
    folder: Path, engine: str = "Quick", **sections: Mapping[str, Any]
) -> AsyncIterator[Running]:
    """A daemon that is ready; killed at the end if it still runs."""
    running = Running(folder, engine, **sections)
    await running.start()
    try:
        yield running
    finally:
        if running.process is not None and running.process.returncode is None:
            await running.end(signal.SIGKILL)


class Caller:
    """A validator's client that knows the daemon."""

    def __init__(self, dendrite: Dendrite, running: Running) -> None:
        self._dendrite = dendrite
        self._running = running
        self.address = running.address

    async def generate(self, prompt: str, seed: int = 0, limit_seconds: float = 60.0) -> Generate3D:
        return await self.call(Generate3D(prompt=prompt, seed=seed), limit_seconds)

    async def push(self, prompt: str, task_id: str) -> TGTask:
        return await self.call(TGTask(prompt=prompt, task_id=task_id))

    async def poll(self, task_id: str) -> TGPoll:
        return await self.call(TGPoll(task_id=task_id))

    async def call(self, synapse: Any, limit_seconds: float = 60.0) -> Any:
        return await self._dendrite.call(self.address, self._running.hotkey, synapse, limit_seconds)


@contextlib.asynccontextmanager
async def calling(running: Running, signer: Signer = VALIDATOR) -> AsyncIterator[Caller]:
    """A client of one validator."""
    async with Dendrite(signer) as dendrite:
        yield Caller(dendrite, running)

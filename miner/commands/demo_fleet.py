"""``miner demo --executor ray --workers 4``: one worker is killed on the way, nothing is lost.

A daemon on the embedded preset whose workers are processes of this host or actors of a Ray cluster
that it starts itself, and a validator that asks for more splats at once than there are workers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from miner import files
from miner.admission.signature import new_hotkey
from miner.commands.console import Reporter, result
from miner.commands.demo_miner import DemoMiner, running, write_settings
from miner.errors import BadOption, ControlError
from miner.network.control_client import ask
from miner.network.dendrite import Dendrite
from miner.network.load import Answer, Order, Target, Validator
from miner.network.load_report import table

PROMPTS = ("a red cube", "a blue car", "a green tree", "a yellow mug")
JOBS_PER_WORKER = 3
EXECUTORS = ("local", "ray")
MAX_WORKERS = 64
STAKE = 25_000.0
LIMIT_SECONDS = 240.0
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.1


def demo_fleet(executor: str, workers: int, output: Path, reporter: Reporter) -> None:
    """Starts the daemon, has it work, kills a worker under a job, and shows what came.

    Raises:
        BadOption: no such executor, or too few or too many workers.
        ControlError: the daemon did not start; or no worker was at work, or none took its place.
    """
    if executor not in EXECUTORS:
        raise BadOption(f"--executor: {' or '.join(EXECUTORS)}, not {executor!r}")
    if not 1 <= workers <= MAX_WORKERS:
        raise BadOption(f"--workers: from 1 to {MAX_WORKERS}")
    files.make_folder(output)
    validator = new_hotkey()
    with tempfile.TemporaryDirectory(prefix="miner-demo-") as name:
        folder = Path(name)
        settings, hotkey = write_settings(folder, [(validator, STAKE)])
        files.write_atomic(settings, settings.read_bytes() + _sections(executor, workers).encode())
        log = output / "daemon.log"
        reporter.note(f"starting a daemon with {workers} workers ({executor}); its log is {log}")
        with running(settings, hotkey, log) as miner:
            reporter.note(f"ready after {miner.seconds:.1f} s")
            fleet = _Fleet(folder / "state", workers, reporter)
            answers, killed = asyncio.run(_play(miner, fleet, Dendrite(validator)))
    for line in table(answers):
        result(line)
    lost = sum(not answer.ok for answer in answers)
    result(f"worker {killed} was killed under a job and replaced; {len(answers)} jobs, {lost} lost")
    if lost:
        raise typer.Exit(1)


def _sections(executor: str, workers: int) -> str:
    count = f"count = {workers}\n" if executor == "local" else ""
    cluster = "" if executor == "local" else f"\n[ray]\nworkers = {workers}\n"
    return f'\n[worker]\nexecutor = "{executor}"\n{count}{cluster}'


async def _play(
    miner: DemoMiner, fleet: _Fleet, dendrite: Dendrite
) -> tuple[Sequence[Answer], str]:
    """All answers, and the name of the worker that was killed."""
    target = Target(miner.addresses["axon"].removeprefix("http://"), miner.hotkey)
    await fleet.all_ready()
    async with dendrite, asyncio.TaskGroup() as group:
        validator = Validator(dendrite, target)
        orders = [
            Order(PROMPTS[number % len(PROMPTS)], seed=number)
            for number in range(JOBS_PER_WORKER * fleet.size)
        ]
        asked = [group.create_task(validator.generate(one, LIMIT_SECONDS)) for one in orders]
        killed = await fleet.kill_one()
    await fleet.all_ready()
    return [task.result() for task in asked], killed


class _Fleet:
    """The workers of the daemon, as its status shows them."""

    def __init__(self, state: Path, size: int, reporter: Reporter) -> None:
        self.size = size
        self._state = state
        self._reporter = reporter

    async def all_ready(self) -> None:
        """Returns when every worker is warm."""
        await self._found("ready", self.size)
        self._reporter.note(f"{self.size} workers are ready")

    async def kill_one(self) -> str:
        """Kills a worker under its job, as a driver that gives up would; its name."""
        worker = (await self._found("busy", 1))[0]
        os.kill(worker["pid"], signal.SIGKILL)
        self._reporter.note(f"worker {worker['name']} is killed at its job")
        return str(worker["name"])

    async def _found(self, state: str, count: int) -> list[Mapping[str, Any]]:
        """So many workers in a state.

        Raises:
            ControlError: there were not, in all that time.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    status = await asyncio.to_thread(ask, self._state, "GET", "status")
                    found = [one for one in status["workers"] if one["state"] == state]
                    if len(found) >= count:
                        return found
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            late = f"after {PATIENCE_SECONDS:g} s there are not {count} workers that are {state}"
            raise ControlError(late) from error

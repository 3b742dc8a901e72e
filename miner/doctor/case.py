"""What the checks are given: the settings, the machine, and what several of them ask only once."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from miner.doctor.asking import Run, in_thread, run_program
from miner.doctor.kernel_clock import KernelClock, read_kernel_clock
from miner.errors import ControlError
from miner.gpu.telemetry import GpuReading, Telemetry
from miner.network.control_client import ask
from miner.settings import Settings

ASK_SECONDS = 5.0

_T = TypeVar("_T")


def read_gpus() -> tuple[GpuReading, ...]:
    """The cards that the NVIDIA driver names."""
    with Telemetry() as telemetry:
        return telemetry.read()


@dataclass(frozen=True)
class Host:
    """The machine as the checks see it; another one in tests.

    Attributes:
        root: under which ``proc``, ``sys`` and ``run`` lie.
        run: starts a program.
        gpus: what the NVIDIA driver says.
        kernel_clock: what the kernel says of its clock; None where it does not.
        wall_clock: unix seconds.
        python: version of the interpreter.
    """

    root: Path = Path("/")
    run: Run = run_program
    gpus: Callable[[], tuple[GpuReading, ...]] = read_gpus
    kernel_clock: Callable[[], KernelClock | None] = read_kernel_clock
    wall_clock: Callable[[], float] = time.time
    python: tuple[int, ...] = tuple(sys.version_info[:3])


@dataclass
class Case:
    """One look at everything.

    Attributes:
        settings: what the daemon would run with.
        host: the machine.
        deep: whether also what takes minutes is done: every weight file and every result hashed.
        starting: whether a daemon is about to start here, rather than a person asking.
        substrate: makes what stands in for the chain's network; see ``Connections``.
    """

    settings: Settings
    host: Host = field(default_factory=Host)
    deep: bool = False
    starting: bool = False
    substrate: Callable[[], Any] | None = None
    _known: dict[str, Any] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def once(self, name: str, make: Callable[[], Awaitable[_T]]) -> _T:
        """What ``make`` gave, asked for the first time by whoever needed it first."""
        async with self._locks[name]:
            if name not in self._known:
                self._known[name] = await make()
            return cast(_T, self._known[name])

    async def daemon(self) -> Mapping[str, Any] | None:
        """What a daemon of the same state folder says of itself; None where none answers."""
        return await self.once("daemon", self._ask)

    async def _ask(self) -> Mapping[str, Any] | None:
        try:
            folder = self.settings.daemon.state_dir
            return await in_thread(ask, folder, "GET", "status", ASK_SECONDS)
        except ControlError:
            return None

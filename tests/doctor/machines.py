"""Machines for the checks to look at: a folder in place of the root, programs that are scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from miner.doctor.asking import MISSING, Done
from miner.doctor.case import Case, Host
from miner.doctor.kernel_clock import KernelClock
from miner.gpu.telemetry import GpuReading
from miner.settings import load_settings

QUIET: dict[str, Any] = {"intakes": ["http"], "api": {"port": 0}, "metrics": {"port": 0}}
"""Serves its own programs alone, on free ports."""

H200 = {
    "name": "NVIDIA H200",
    "capability": [9, 0],
    "total": 150 * 2**30,
    "free": 149 * 2**30,
    "kernel": "ok",
    "seconds": 0.21,
}
SEEN = {
    "torch": "2.13.0",
    "built_for": "13.0",
    "usable": True,
    "reason": "",
    "cpu_right": True,
    "arches": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"],
    "devices": [H200],
}
"""What torch sees on a machine that is as it should be."""
BLIND = {**SEEN, "usable": False, "devices": [], "reason": "driver too old (found 11040)"}
PROVIDERS = {
    "version": "1.31.1",
    "available": ["CPUExecutionProvider"],
    "provider": "CPUExecutionProvider",
    "reason": "",
    "card": "",
    "seconds": 0.5,
}


class Programs:
    """Programs by a word of their command line; implements ``Run``.

    Attributes:
        asked: the command lines so far, with their environments.
    """

    def __init__(self, **answers: Done | Mapping[str, Any]) -> None:
        self._answers = answers
        self.asked: list[tuple[Sequence[str], Mapping[str, str] | None]] = []

    async def __call__(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Done:
        self.asked.append((arguments, environment))
        for word, answer in self._answers.items():
            if word in arguments:
                return answer if isinstance(answer, Done) else Done(0, json.dumps(answer), "")
        return Done(MISSING, "", "no such program")


def case(
    root: Path,
    programs: Programs | None = None,
    gpus: Callable[[], tuple[GpuReading, ...]] = tuple,
    kernel_clock: KernelClock | None = None,
    starting: bool = False,
    deep: bool = False,
    **flags: Any,
) -> Case:
    """A case on a machine of one's own; its state folder is ``root/state``."""
    (root / "state").mkdir(exist_ok=True)
    place = {"state_dir": str(root / "state"), "weights": str(root / "weights")}
    settings = load_settings(flags={**QUIET, **place, **flags}, environ={})
    host = Host(
        root=root,
        run=programs or Programs(),
        gpus=gpus,
        kernel_clock=lambda: kernel_clock,
        wall_clock=lambda: 1_000_000.0,
    )
    return Case(settings, host, deep=deep, starting=starting)


def put(root: Path, name: str, text: str) -> Path:
    """A file under the root, with its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def nvidia() -> tuple[GpuReading, ...]:
    """What a driver with one card says."""
    return (GpuReading(0, "GPU-0", "NVIDIA H200"),)


def card_on_bus(root: Path) -> None:
    """A card that no driver stands behind."""
    put(root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    put(root, "sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n")
    put(root, "sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n")  # its sound
    put(root, "sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n")

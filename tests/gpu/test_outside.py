"""What a process holds of a GPU beside torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pynvml  # type: ignore[import-untyped]

from miner.gpu.outside import OutsideMeter, bytes_of_process


@dataclass
class Readings:
    """What the driver and torch say, set by a test."""

    own: int | None
    whole: int
    reserved: int

    def meter(self) -> OutsideMeter:
        return OutsideMeter(lambda: self.own, lambda: self.whole, lambda: self.reserved)


def test_only_what_came_since_the_beginning_counts() -> None:
    """A context, and what others held before, are no part of it; nor is what torch holds."""
    say = Readings(own=400, whole=5000, reserved=0)
    meter = say.meter()
    assert meter.read() == 0

    say.own, say.whole, say.reserved = 400 + 1000 + 70, 9000, 1000
    assert meter.read() == 70


def test_without_the_driver_the_whole_device_is_read() -> None:
    """Where a process is not seen, what is used on the device counts, by whomever."""
    say = Readings(own=None, whole=5000, reserved=0)
    meter = say.meter()

    say.whole, say.reserved = 5000 + 1000 + 70, 1000
    assert meter.read() == 70
    say.whole = 0  # another process went
    assert meter.read() == 0


def test_a_process_of_another_container_is_not_taken_for_ours() -> None:
    """Less than torch holds cannot be ours."""
    say = Readings(own=10, whole=5000, reserved=100)
    meter = say.meter()

    say.whole += 70
    assert meter.read() == 70


@dataclass
class Driver:
    """NVML with one GPU."""

    processes: Sequence[Any] = ()
    works: bool = True
    open: int = 0

    def nvmlInit(self) -> None:
        if not self.works:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> Sequence[Any]:
        return self.processes


def process(number: int, used: int | None) -> Any:
    return SimpleNamespace(pid=number, usedGpuMemory=used)


def test_the_driver_says_what_a_process_holds() -> None:
    """Only its own figure, and the driver is let go of each time."""
    driver = Driver([process(7, 100), process(8, 200)])

    assert bytes_of_process("GPU-1", 8, driver) == 200
    assert driver.open == 0


def test_what_the_driver_does_not_say_is_not_known() -> None:
    """No driver, no such GPU, no such process, or a figure that it hides: None."""
    hidden = Driver([process(8, None)])

    assert bytes_of_process("GPU-1", 8, Driver(works=False)) is None
    assert bytes_of_process("GPU-2", 8, hidden) is None
    assert bytes_of_process("GPU-1", 9, hidden) is None
    assert bytes_of_process("GPU-1", 8, hidden) is None
    assert hidden.open == 0

"""Readings of the driver: what it says, what it does not, and what happens without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from miner.gpu.telemetry import GpuReading, Telemetry


class Driver:
    """Stands in for the library: two GPUs, the second of which is lost while it is asked."""

    def __init__(self, present: bool = True, missing: tuple[str, ...] = ()) -> None:
        self.present = present
        self.missing = missing
        self.log: list[str] = []

    def nvmlInit(self) -> None:
        self.log.append("init")
        if not self.present:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def nvmlShutdown(self) -> None:
        self.log.append("shutdown")

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetUUID": "GPU-{}",
            "nvmlDeviceGetName": b"NVIDIA H200",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=5, total=10),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=50),
            "nvmlDeviceGetPowerUsage": 250_500,
            "nvmlDeviceGetTemperature": 41,
        }

        def answer(index: int, *more: object) -> Any:
            if name in self.missing:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if name == "nvmlDeviceGetHandleByIndex":
                return index
            value = answers[name]
            return value.format(index) if isinstance(value, str) else value

        return answer


def test_a_gpu_is_read_in_our_units() -> None:
    """Ratios from percent, watts from milliwatts, and the names as text."""
    with Telemetry(nvml=Driver()) as telemetry:
        first, second = telemetry.read()
    assert first == GpuReading(0, "GPU-0", "NVIDIA H200", 5, 10, 0.5, 41, 250.5)
    assert second.uuid == "GPU-1"


def test_without_a_driver_there_are_no_readings() -> None:
    """It is looked for once, and nothing is raised."""
    driver = Driver(present=False)
    with Telemetry(nvml=driver) as telemetry:
        assert telemetry.read() == telemetry.read() == ()
    assert driver.log == ["init"]


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        ("nvmlDeviceGetPowerUsage", "watts"),
        ("nvmlDeviceGetUtilizationRates", "utilization"),
        ("nvmlDeviceGetMemoryInfo", "used_bytes"),
        ("nvmlDeviceGetTemperature", "celsius"),
    ],
)
def test_what_a_product_does_not_offer_is_none(missing: str, lost: str) -> None:
    """One value that cannot be read does not cost the others."""
    with Telemetry(nvml=Driver(missing=(missing,))) as telemetry:
        reading = telemetry.read()[0]
    assert getattr(reading, lost) is None
    assert reading.name == "NVIDIA H200"


def test_a_lost_gpu_has_no_reading() -> None:
    """A GPU that fell off its bus is left out."""
    with Telemetry(nvml=Driver(missing=("nvmlDeviceGetHandleByIndex",))) as telemetry:
        assert telemetry.read() == ()


@pytest.mark.parametrize("wanted", ["1", "GPU-1"])
def test_only_the_wanted_gpus_are_read(wanted: str) -> None:
    """They are named by index or UUID."""
    with Telemetry(only=[wanted], nvml=Driver()) as telemetry:
        assert [reading.index for reading in telemetry.read()] == [1]


def test_the_driver_is_let_go_once() -> None:
    """Closing twice is allowed, and after it there are no readings."""
    driver = Driver()
    telemetry = Telemetry(nvml=driver)
    telemetry.read()
    telemetry.close()
    telemetry.close()
    assert telemetry.read() == ()
    assert driver.log == ["init", "shutdown"]

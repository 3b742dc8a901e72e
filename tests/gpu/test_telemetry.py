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


class Split(Driver):
    """The first of two GPUs is split in two parts, with an empty place between them."""

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        if handle != 0:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, part: int) -> str:
        if part == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return f"part {part}"

    def nvmlDeviceGetUUID(self, handle: int | str) -> str:
        return f"GPU-{handle}" if isinstance(handle, int) else f"MIG-{handle[-1]}f"

    def nvmlDeviceGetMemoryInfo(self, handle: int | str) -> SimpleNamespace:
        return SimpleNamespace(used=5, total=10 if isinstance(handle, int) else 3)

    def nvmlDeviceGetUtilizationRates(self, handle: int | str) -> SimpleNamespace:
        if isinstance(handle, str):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=50)


@pytest.mark.parametrize("wanted", ["GPU-1", "GPU-"])
def test_a_shortened_uuid_is_enough(wanted: str) -> None:
    """As CUDA takes it."""
    with Telemetry(only=[wanted], nvml=Driver()) as telemetry:
        assert telemetry.read()[-1].uuid == "GPU-1"


def test_a_part_of_a_split_gpu_has_readings() -> None:
    """Memory of its own, temperature and power of the chip, and a name that says what it is."""
    with Telemetry(only=["MIG-2"], nvml=Split()) as telemetry:
        (reading,) = telemetry.read()
    assert reading == GpuReading(0, "MIG-2f", "NVIDIA H200 MIG", 5, 3, None, 41, 250.5, part=2)
    assert reading.label == "0:2"


def test_without_a_wish_gpus_are_read_as_wholes() -> None:
    """Their parts would count the same memory again; where none are wanted, none are read."""
    with Telemetry(nvml=Split()) as telemetry:
        assert [one.label for one in telemetry.read()] == ["0", "1"]
    with Telemetry(only=[], nvml=Split()) as telemetry:
        assert telemetry.read() == ()


def test_a_gpu_that_is_not_there_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """And the others are read."""
    with Telemetry(only=["0", "MIG-9"], nvml=Split()) as telemetry:
        assert [len(telemetry.read()) for _ in range(3)] == [1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "no readings of GPU MIG-9: the driver does not show it to us"
    ]

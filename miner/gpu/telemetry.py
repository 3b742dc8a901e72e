"""What the NVIDIA driver says of the GPUs: memory, utilisation, temperature, power.

Read through NVML, so without a CUDA context and from any process. Where there is no driver there
are no readings, and a value that a product does not offer is None. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one moment.

    Attributes:
        index: in the driver's order, which is that of the PCI bus.
        uuid: as ``CUDA_VISIBLE_DEVICES`` takes it.
        name: the product.
        used_bytes, total_bytes: memory in use by whomever, and memory there is.
        utilization: share of the last moment in which a kernel ran, 0 to 1.
        celsius: of the chip.
        watts: drawn now.
    """

    index: int
    uuid: str
    name: str
    used_bytes: int | None = None
    total_bytes: int | None = None
    utilization: float | None = None
    celsius: float | None = None
    watts: float | None = None


class Telemetry:
    """Reads the GPUs of this host; the driver is first looked for at the first reading.

    One caller at a time. To be closed, or used with ``with``, by who does not end with the process.

    Args:
        only: indices or UUIDs of the GPUs wanted; all when empty.
        nvml: the library, or what has its functions.
    """

    def __init__(self, only: Sequence[str] = (), nvml: Any = pynvml) -> None:
        self._only = frozenset(only)
        self._nvml = nvml
        self._there: bool | None = None  # None: not looked for yet

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def available(self) -> bool:
        """Whether there is a driver to ask."""
        if self._there is None:
            try:
                self._nvml.nvmlInit()
                self._there = True
            except pynvml.NVMLError:  # no driver, or none that works: no readings
                self._there = False
        return self._there

    def close(self) -> None:
        """Lets go of the driver; there are no readings after it. May be called again."""
        if self._there:
            with suppress(pynvml.NVMLError):
                self._nvml.nvmlShutdown()
        self._there = False

    def read(self) -> tuple[GpuReading, ...]:
        """The GPUs that answer now. Takes milliseconds, in which it blocks."""
        if not self.available:
            return ()
        count = self._ask(self._nvml.nvmlDeviceGetCount) or 0
        readings = (self._read_one(index) for index in range(count))
        return tuple(reading for reading in readings if reading is not None)

    def _read_one(self, index: int) -> GpuReading | None:
        nvml = self._nvml
        handle = self._ask(nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            return None
        uuid = _text(self._ask(nvml.nvmlDeviceGetUUID, handle))
        if self._only and not self._only & {str(index), uuid}:
            return None
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        return GpuReading(
            index=index,
            uuid=uuid,
            name=_text(self._ask(nvml.nvmlDeviceGetName, handle)),
            used_bytes=None if memory is None else int(memory.used),
            total_bytes=None if memory is None else int(memory.total),
            utilization=None if rates is None else rates.gpu / 100,
            celsius=self._ask(nvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
            watts=None if milliwatts is None else milliwatts / 1000,
        )

    def _ask(self, function: Callable[..., _Value], *arguments: Any) -> _Value | None:
        """The answer, or None where this GPU has none: not supported, lost, no permission."""
        try:
            return function(*arguments)
        except pynvml.NVMLError:
            return None


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or "unknown"

"""What the NVIDIA driver says of the GPUs: memory, utilisation, temperature, power.

Read through NVML, so without a CUDA context and from any process. Where there is no driver there
are no readings, and a value that a product does not offer is None. Nothing here decides anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]

_Value = TypeVar("_Value")

log = logging.getLogger(__name__)

GPU, MIG = "GPU-", "MIG-"
"""How UUIDs begin: of whole GPUs, and of parts of one that is split."""


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
        part: of a GPU that is split (MIG), which of its parts; memory is the part's own, and the
            chip's temperature and power are the whole GPU's.
    """

    index: int
    uuid: str
    name: str
    used_bytes: int | None = None
    total_bytes: int | None = None
    utilization: float | None = None
    celsius: float | None = None
    watts: float | None = None
    part: int | None = None

    @property
    def label(self) -> str:
        """Short, and of no other: "0", or "0:1" of a part."""
        return str(self.index) if self.part is None else f"{self.index}:{self.part}"


class Telemetry:
    """Reads the GPUs of this host; the driver is first looked for at the first reading.

    One caller at a time. To be closed, or used with ``with``, by who does not end with the process.

    Args:
        only: the GPUs wanted, by index, UUID or the beginning of one, parts of a split GPU among
            them ("MIG-..."); None is all GPUs, as wholes. One that is not there is warned of once.
        nvml: the library, or what has its functions.
    """

    def __init__(self, only: Sequence[str] | None = None, nvml: Any = pynvml) -> None:
        self._only = None if only is None else tuple(only)
        self._nvml = nvml
        self._missed: set[str] = set()  # wanted and not found, and warned of
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
        if self._only is not None and not self._only:
            return ()
        count = self._ask(self._nvml.nvmlDeviceGetCount) or 0
        readings = tuple(one for index in range(count) for one in self._read_one(index))
        self._warn_of_missing(readings)
        return readings

    def _read_one(self, index: int) -> Iterator[GpuReading]:
        """The GPU where it is wanted, and those of its parts that are."""
        nvml = self._nvml
        handle = self._ask(nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            return
        whole = GpuReading(
            index=index,
            uuid=_text(self._ask(nvml.nvmlDeviceGetUUID, handle)),
            name=_text(self._ask(nvml.nvmlDeviceGetName, handle)),
        )
        if self._only is None or any(_means(name, whole) for name in self._only):
            yield self._filled(whole, handle, handle)
        if self._only is not None and any(name.startswith(MIG) for name in self._only):
            yield from self._parts(whole, handle)

    def _parts(self, whole: GpuReading, handle: Any) -> Iterator[GpuReading]:
        nvml, wanted = self._nvml, self._only or ()
        for part in range(self._ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            own = self._ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, part)
            if own is None:  # the place is empty
                continue
            name = _text(self._ask(nvml.nvmlDeviceGetName, own))
            found = GpuReading(
                index=whole.index,
                uuid=_text(self._ask(nvml.nvmlDeviceGetUUID, own)),
                name=name if "MIG" in name else f"{whole.name} MIG",
                part=part,
            )
            if any(_means(one, found) for one in wanted):
                yield self._filled(found, own, handle)

    def _filled(self, reading: GpuReading, own: Any, chip: Any) -> GpuReading:
        """The reading with its figures: memory and use of its own, the rest of the chip."""
        nvml = self._nvml
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, own)
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, own)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, chip)
        return replace(
            reading,
            used_bytes=None if memory is None else int(memory.used),
            total_bytes=None if memory is None else int(memory.total),
            utilization=None if rates is None else rates.gpu / 100,
            celsius=self._ask(nvml.nvmlDeviceGetTemperature, chip, pynvml.NVML_TEMPERATURE_GPU),
            watts=None if milliwatts is None else milliwatts / 1000,
        )

    def _warn_of_missing(self, readings: Sequence[GpuReading]) -> None:
        for name in self._only or ():
            if name not in self._missed and not any(_means(name, one) for one in readings):
                self._missed.add(name)
                log.warning("no readings of GPU %s: the driver does not show it to us", name)

    def _ask(self, function: Callable[..., _Value], *arguments: Any) -> _Value | None:
        """The answer, or None where this GPU has none: not supported, lost, no permission."""
        try:
            return function(*arguments)
        except pynvml.NVMLError:
            return None


def _means(name: str, reading: GpuReading) -> bool:
    """Whether an index, a UUID or the beginning of one names what was read."""
    if name.isdecimal():
        return reading.part is None and int(name) == reading.index
    return name.startswith((GPU, MIG)) and reading.uuid.startswith(name)


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or "unknown"

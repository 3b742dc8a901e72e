"""Memory of a GPU that a process holds beside torch: onnxruntime's, and that of loaded kernels.

torch counts its own tensors and the blocks it keeps. What else the process took is the difference
to what the driver says: of this process, where NVML can see it, else of the whole device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pynvml  # type: ignore[import-untyped]
import torch


class OutsideMeter:
    """Reads what lies on a GPU outside torch, since the meter was made.

    Made before anything is loaded, so that the CUDA context does not count. Where only the whole
    device can be read, what other processes take later counts as well.

    Args:
        own: bytes on the device by this process, or None where that cannot be seen.
        whole: bytes in use on the device.
        reserved: of them, what torch holds.
    """

    def __init__(
        self, own: Callable[[], int | None], whole: Callable[[], int], reserved: Callable[[], int]
    ) -> None:
        self._reserved = reserved
        self._whole = whole
        before = own()
        # In a container the numbers of processes may be another's; torch's share shows it.
        self._own = own if before is not None and before >= reserved() else None
        self._before = self._used() - reserved()

    def read(self) -> int:
        """Bytes, at least 0."""
        return max(0, self._used() - self._reserved() - self._before)

    def _used(self) -> int:
        own = None if self._own is None else self._own()
        return self._whole() if own is None else own


def outside_meter(device: torch.device, nvml: Any = pynvml) -> OutsideMeter:
    """The meter of a CUDA device, whose context it makes where there is none."""

    def whole() -> int:
        free, total = torch.cuda.mem_get_info(device)
        return total - free

    whole()
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return OutsideMeter(
        lambda: bytes_of_process(uuid, os.getpid(), nvml),
        whole,
        lambda: torch.cuda.memory_reserved(device),
    )


def bytes_of_process(uuid: str, process: int, nvml: Any = pynvml) -> int | None:
    """What a process holds of a GPU, by the driver.

    Args:
        uuid: of the GPU, as the driver writes it.
        process: its number.
        nvml: the library, or what has its functions.

    Returns:
        Bytes; None where the driver is not there, hides it or does not know the process.
    """
    try:
        nvml.nvmlInit()  # counted: the library stays loaded until as many shutdowns
    except pynvml.NVMLError:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if one.pid == process and one.usedGpuMemory is not None:
                return int(one.usedGpuMemory)
    except pynvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()
    return None

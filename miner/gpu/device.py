"""Which device and number type to compute with."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

import torch

from miner.errors import DeviceError
from miner.gpu.host_memory import host_memory
from miner.gpu.measured import PEAK, PEAK_OF, UNSEEN, WHOLE
from miner.gpu.outside import OutsideMeter, outside_meter
from miner.gpu.plan import Card

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Device:
    """A device that was seen to be there.

    Attributes:
        torch_device: for tensors and modules.
        name: for a person, as in the report.
        peaks: most bytes of live tensors, by the component that ran, and by ``WHOLE`` since the
            process began; written by the device's thread. Nothing on the CPU. Of a component in
            ``UNSEEN`` also what the process held outside torch after its runs.
        outside: reads what the process holds of the GPU outside torch; None where nothing does.
    """

    torch_device: torch.device
    name: str
    peaks: dict[str, int] = field(default_factory=dict, compare=False, repr=False, kw_only=True)
    outside: OutsideMeter | None = field(default=None, compare=False, repr=False, kw_only=True)

    @property
    def is_cuda(self) -> bool:
        """Whether work is queued on it and has to be waited for."""
        return self.torch_device.type == "cuda"

    def dtype(self, wanted: str, auto_on_cuda: torch.dtype = torch.bfloat16) -> torch.dtype:
        """The number type for ``wanted``; ``auto`` is float32 on the CPU."""
        if wanted == "auto":
            return auto_on_cuda if self.is_cuda else torch.float32
        return DTYPES[wanted]

    def synchronize(self) -> None:
        """Returns when everything queued on the device is done.

        A thread with a stream of its own waits for that stream alone: what others have queued is
        no part of its work.
        """
        if not self.is_cuda:
            return
        stream = torch.cuda.current_stream(self.torch_device)
        if stream == torch.cuda.default_stream(self.torch_device):
            torch.cuda.synchronize(self.torch_device)
        else:
            stream.synchronize()

    def release(self) -> None:
        """Hands cached and unused memory back, after a stage that ran out of it."""
        if self.is_cuda:
            torch.cuda.empty_cache()

    def release_host(self) -> None:
        """Hands unused pinned host memory back, which torch would keep."""
        if self.is_cuda:
            torch.accelerator.empty_host_cache()

    def available_bytes(self) -> int:
        """Memory that could be had now: of the GPU, or of the machine without its caches."""
        if self.is_cuda:
            return torch.cuda.mem_get_info(self.torch_device)[0]
        return host_memory().free_bytes

    def card(self) -> Card:
        """What a plan has to know of it now, with what this process holds counted as taken."""
        host = host_memory()
        if not self.is_cuda:
            return Card(self.name, host.total_bytes, host.free_bytes, None, host.free_bytes)
        free, total = torch.cuda.mem_get_info(self.torch_device)
        capability = torch.cuda.get_device_capability(self.torch_device)
        return Card(self.name, total, free, capability, host.free_bytes)

    def memory(self) -> dict[str, int]:
        """Readings of a GPU in bytes, by name; none on the CPU.

        "gpu_allocated" and "gpu_peak" are of live tensors, "gpu_reserved" is what torch holds;
        "gpu_used" and "gpu_total" are the device's own, with what other processes hold, and
        "gpu_outside" is what this process took outside torch, as onnxruntime's arena. Then the
        peaks by component, as ``note_peak`` got them, with ``PEAK_OF`` before their names.
        """
        if not self.is_cuda:
            return {}
        free, total = torch.cuda.mem_get_info(self.torch_device)
        return {
            "gpu_allocated": self.allocated_bytes(),
            "gpu_reserved": torch.cuda.memory_reserved(self.torch_device),
            "gpu_used": total - free,
            "gpu_total": total,
            "gpu_outside": self.outside_bytes(),
            **self.peak_readings(),
        }

    def peak_readings(self) -> dict[str, int]:
        """The peaks so far, as ``memory`` names them; none on the CPU."""
        if not self.is_cuda:
            return {}
        noted = dict(self.peaks)  # at once: another thread may add to it
        highest = max(noted.pop(WHOLE, 0), self.peak_bytes())
        return {PEAK: highest, **{PEAK_OF + name: peak for name, peak in noted.items()}}

    def outside_bytes(self) -> int:
        """Held of a GPU outside torch now, without the CUDA context; 0 on the CPU."""
        return 0 if self.outside is None else self.outside.read()

    def allocated_bytes(self) -> int:
        """Of live tensors on a GPU now; 0 on the CPU."""
        return torch.cuda.memory_allocated(self.torch_device) if self.is_cuda else 0

    def reset_peak(self) -> None:
        """Starts a new measurement of peak memory; nothing on the CPU."""
        if self.is_cuda:
            self._keep_peak(WHOLE)
            self._restart_peak()

    def note_peak(self, component: str) -> None:
        """A component ran since ``reset_peak``; nothing on a CPU.

        Of what torch does not see there is no peak, only what is held now: see ``UNSEEN``.
        """
        if not self.is_cuda:
            return
        outside = self.outside_bytes() if component in UNSEEN else 0
        self._keep_peak(component, outside)

    def forget_peaks(self) -> None:
        """Forgets every peak so far: what was loaded is gone, and something else is to come."""
        self.peaks.clear()
        if self.is_cuda:
            self._restart_peak()

    def _restart_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.torch_device)

    def _keep_peak(self, name: str, outside: int = 0) -> None:
        self.peaks[name] = max(self.peaks.get(name, 0), self.peak_bytes() + outside)

    def peak_bytes(self) -> int:
        """Most memory in use: of the GPU since ``reset_peak``, or of the process since it began."""
        if self.is_cuda:
            return torch.cuda.max_memory_allocated(self.torch_device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def choose_device(wanted: str = "auto") -> Device:
    """The device for ``auto``, ``cpu`` or ``cuda``; ``auto`` takes CUDA where it is.

    Raises:
        DeviceError: CUDA was asked for and cannot be used here.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return Device(torch.device("cpu"), "cpu")
    if not torch.cuda.is_available():
        raise DeviceError(
            "cuda: no usable CUDA device here (driver, or a build of torch without CUDA); "
            "set MINER_DEVICE=auto or mend the installation"
        )
    index = torch.cuda.current_device()
    device = torch.device("cuda", index)
    return Device(device, torch.cuda.get_device_name(index), outside=outside_meter(device))

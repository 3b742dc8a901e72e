"""What every part measures with: the device, sizes, a clock and memory readings."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from miner.errors import DeviceError
from miner.gpu.device import Device, choose_device
from miner.gpu.telemetry import Telemetry
from miner.settings import Preset, load_settings
from tools.card.outcome import Unmeasured

GB = 1e9
GIB = 2**30
ROOT = Path(__file__).parents[2]
"""Of the checkout: the small TripoSR for the comparison is among the data of its tests."""
SMALL_TRIPOSR = ROOT / "tests" / "data" / "triposr-small"


@dataclass
class Bench:
    """The machine that is measured.

    Attributes:
        device: that computes.
        tiny: everything in sizes that a CPU plays in seconds.
        deadline: ``time.monotonic`` at which the command ends.
    """

    device: Device
    tiny: bool
    deadline: float
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)
    _folder: Path | None = field(default=None, repr=False)

    @classmethod
    def here(cls, tiny: bool, seconds: float) -> Bench:
        """The card of this machine, or the CPU for tiny sizes.

        Raises:
            DeviceError: there is no card.
        """
        if not tiny and not torch.cuda.is_available():
            raise DeviceError(
                "no usable CUDA device here (driver, or a build of torch without CUDA); "
                "--tiny tries the command on the CPU"
            )
        return cls(choose_device("cpu" if tiny else "cuda"), tiny, time.monotonic() + seconds)

    @property
    def place(self) -> torch.device:
        """Torch's device."""
        return self.device.torch_device

    @property
    def left_seconds(self) -> float:
        """Until the command ends."""
        return self.deadline - time.monotonic()

    @property
    def preset(self) -> Preset:
        """The full-size models, one picture at a time; small pictures where all is tiny."""
        preset = load_settings("flux-schnell").preset
        changed = {"batch_size": 1}
        if self.tiny:
            changed |= {"size_px": 64, "max_sequence_length": 32}
        paint = preset.text_to_image.model_copy(update=changed)
        return preset.model_copy(update={"text_to_image": paint})

    @property
    def folder(self) -> Path:
        """A temporary folder for as long as the command runs."""
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self._folder

    def close(self) -> None:
        """Removes the temporary folder."""
        self._stack.close()

    def timed(self, call: Callable[[], object], runs: int = 3) -> float:
        """The best of some warm runs, seconds; the first run is not counted."""
        call()
        best = float("inf")
        for _ in range(1 if self.tiny else runs):
            self.device.synchronize()
            began = time.perf_counter()
            call()
            self.device.synchronize()
            best = min(best, time.perf_counter() - began)
        return best

    def once(self, call: Callable[[], object]) -> float:
        """The seconds of a single run."""
        self.device.synchronize()
        began = time.perf_counter()
        call()
        self.device.synchronize()
        return time.perf_counter() - began

    def tidy(self) -> None:
        """Hands back all memory that nothing holds, and begins a new peak."""
        gc.collect()
        self.device.release()
        self.device.reset_peak()

    def allocated(self) -> int:
        """Bytes of live tensors on the card; 0 on a CPU."""
        return self.device.allocated_bytes()

    def peak(self) -> int:
        """Most bytes of live tensors since ``tidy``; 0 on a CPU."""
        return self.device.peak_bytes() if self.device.is_cuda else 0

    def driver_used(self) -> int | None:
        """Bytes in use on the card as its driver says; None without a driver.

        The card is found by its UUID, because a mask of the environment changes torch's numbers.
        """
        if not self.device.is_cuda:
            return None
        uuid = f"GPU-{torch.cuda.get_device_properties(self.place).uuid}"
        with Telemetry([uuid]) as telemetry:
            found = telemetry.read()
        return found[0].used_bytes if found else None

    def need(self, what: str, gigabytes: float) -> None:
        """Says that a part cannot be measured where the card has too little memory.

        Raises:
            Unmeasured: with both figures.
        """
        if self.tiny:
            return
        self.tidy()
        free = self.device.available_bytes() / GB
        if free < gigabytes:
            raise Unmeasured(f"{what} needs {gigabytes:.0f} GB, {free:.1f} are free")

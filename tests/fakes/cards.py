"""A GPU that is none: the CPU, with readings of memory that a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from miner.gpu.device import Device
from miner.gpu.plan import Card

GIB = 1 << 30


@dataclass
class Meter:
    """What live tensors hold, and the most they held since the last reset."""

    now: int = 0
    peak: int = 0

    def take(self, size: int) -> None:
        """So many bytes more, or less."""
        self.now += size
        self.peak = max(self.peak, self.now)


@dataclass(frozen=True)
class FakeCard(Device):
    """Counts as a GPU; ``meter`` is its memory, ``beside`` what torch does not see of it."""

    meter: Meter = field(default_factory=Meter, compare=False)
    beside: Meter = field(default_factory=Meter, compare=False)

    @property
    def is_cuda(self) -> bool:
        """As a GPU says."""
        return True

    def synchronize(self) -> None:
        """Nothing is ever queued."""

    def release(self) -> None:
        """Nothing is kept."""

    def release_host(self) -> None:
        """Nothing is pinned."""

    def card(self) -> Card:
        """Of 24 GiB."""
        return Card(self.name, 24 * GIB, 24 * GIB, (8, 9), 64 * GIB)

    def allocated_bytes(self) -> int:
        """As the meter says."""
        return self.meter.now

    def outside_bytes(self) -> int:
        """As the other meter says."""
        return self.beside.now

    def peak_bytes(self) -> int:
        """As the meter says."""
        return self.meter.peak

    def _restart_peak(self) -> None:
        self.meter.peak = self.meter.now


def fake_card() -> FakeCard:
    """With nothing in its memory."""
    return FakeCard(torch.device("cpu"), "a fake card")

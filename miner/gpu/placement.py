"""What each way of placing the models takes, with the operator's wishes laid over it.

Between the ladder, which knows the order, and the planner, which takes the first that fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from miner.gpu import capability, ladder
from miner.gpu.capability import Installed, Settled
from miner.gpu.catalogue import Part
from miner.gpu.ladder import LARGE, Parts, Rung
from miner.gpu.plan import Card, Component, Precision, Residency
from miner.settings import MemorySettings, TextToImageSettings

MIB = 1024 * 1024

RESERVE_BYTES = 256 * MIB
RESERVE_SHARE = 22
"""Kept free where nothing is set: so much and one part in so many, for the libraries' workspaces
and fragments. The driver's context is not in it: what is free is read with one made already."""

ON_HOST: tuple[Residency, ...] = ("host", "streamed", "cpu")
"""Residencies whose weights are in the host's memory."""

HOST_SHARE = 0.9
"""Of the host's available memory, for parts that wait there."""


@dataclass(frozen=True)
class Setting:
    """What is to be placed, on what.

    Attributes:
        unknown: weights of which the catalogue knows nothing; they count as nothing.
        pixels: of a picture, over those that the catalogue counted with.
        rollback: where the rollback generator waits at the nearest.
    """

    card: Card
    memory: MemorySettings
    paint: TextToImageSettings
    parts: Parts
    unknown: tuple[str, ...]
    pixels: float
    installed: Installed
    rollback: Residency

    @property
    def limit_bytes(self) -> int:
        """What a plan may take of the device."""
        card, memory = self.card, self.memory
        reserve = memory.reserve_bytes or RESERVE_BYTES + card.total_bytes // RESERVE_SHARE
        limit = max(0, card.free_bytes - reserve)
        return min(limit, memory.limit_bytes) if memory.limit_bytes else limit

    def wanted_precision(self, name: Component) -> Settled | None:
        """What the operator's wish comes to here, None where there is none for this component."""
        part = self.parts[name]
        wanted = self.memory.precision_of.get(name)
        if wanted is None and self.memory.precision != "auto":
            mode: Precision = self.memory.precision
            wanted = mode if mode in part.can_have or name in LARGE else None
        if wanted is None:
            return None
        return capability.settle(wanted, self.card, part.can_have, self.installed)

    def wanted_residency(self, name: Component) -> Residency | None:
        """The operator's wish; a CPU's memory is the host's, so there all that waits is there."""
        wanted = self.memory.residency_of.get(name)
        same = wanted in ("host", "streamed", "cpu") and not self.card.is_cuda
        return "resident" if same else wanted

    def running_bytes(self, rung: Rung, name: Component) -> int:
        """Bytes of one component on the device while it works; none for one that the CPU does."""
        part, precision = self.parts[name], rung.precision[name]
        if rung.residency[name] == "cpu":
            return 0
        streamed = rung.residency[name] == "streamed"
        weights = part.streamed_bytes(precision) if streamed else part.weight_bytes(precision)
        return weights + part.peak_bytes(precision, self.pixels, self.paint.batch_size)


@dataclass(frozen=True)
class Fit:
    """A rung and what it takes.

    Attributes:
        peak_bytes: most on the device at once.
        host_bytes: waiting in the host's memory.
    """

    rung: Rung
    peak_bytes: int
    host_bytes: int

    def has_room(self, setting: Setting) -> bool:
        """Whether both memories hold it."""
        host = setting.card.host_bytes * HOST_SHARE
        return self.peak_bytes <= setting.limit_bytes and self.host_bytes <= host

    @property
    def all_resident(self) -> bool:
        """Whether nothing moves."""
        return set(self.rung.residency.values()) == {"resident"}


def fits(setting: Setting) -> Iterator[Fit]:
    """Every rung with the wishes laid over it, in order, without those that cannot be."""
    for rung in ladder.rungs(setting.card, setting.parts, setting.installed):
        bound = _bound(setting, rung)
        if all(
            _can_be(setting.parts[n], bound.precision[n], p) for n, p in bound.residency.items()
        ):
            yield _measure(setting, bound)


def _can_be(part: Part, precision: Precision, place: Residency) -> bool:
    return place != "streamed" or (part.block > 0 and precision in ladder.STREAMABLE)


def _bound(setting: Setting, rung: Rung) -> Rung:
    """The rung with what the operator asked for in place of what it says."""
    precision, residency = dict(rung.precision), dict(rung.residency)
    for name in setting.parts:
        settled = setting.wanted_precision(name)
        if settled is not None:
            precision[name] = settled.precision
        place = setting.wanted_residency(name)
        if place is not None:
            residency[name] = place
    if "dreamgaussian" in residency and "dreamgaussian" not in setting.memory.residency_of:
        residency["dreamgaussian"] = _farther(residency["dreamgaussian"], setting.rollback)
    return Rung(precision, residency)


def _farther(one: Residency, other: Residency) -> Residency:
    order: tuple[Residency, ...] = ("resident", "host", "disk")
    return max(one, other, key=order.index)


def _measure(setting: Setting, rung: Rung) -> Fit:
    sizes = {name: part.weight_bytes(rung.precision[name]) for name, part in setting.parts.items()}
    resident = {
        name: sizes[name] + part.kept_bytes
        for name, part in setting.parts.items()
        if rung.residency[name] == "resident"
    }
    waiting = sum(s for name, s in sizes.items() if rung.residency[name] in ON_HOST)
    peak = 0
    for name in setting.parts:
        others = sum(resident.values()) - resident.get(name, 0)
        peak = max(peak, others + setting.running_bytes(rung, name))
    return Fit(rung, peak, waiting if setting.card.is_cuda else 0)

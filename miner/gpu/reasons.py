"""The words of a plan: why each component is where it is, and what could not be had."""

from __future__ import annotations

from collections.abc import Iterator

from miner.gpu.capability import onnxruntime_has_kernels
from miner.gpu.ladder import own_precision
from miner.gpu.placement import Fit, Setting, fits
from miner.gpu.plan import Component

GIB = 1024**3


def gib(size: int) -> str:
    """A size for a person."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 20 else f"{size / 1024**2:.0f} MiB"


class Words:
    """What is said of one plan.

    Args:
        own: what was to be placed.
        used: what was placed: without the wishes, or with another painter, where it had to be.
        fit: how.
    """

    def __init__(self, own: Setting, used: Setting, fit: Fit) -> None:
        self._own = own
        self._used = used
        self._fit = fit
        self._resident = [found for found in fits(used) if found.all_resident]

    def reason(self, name: Component) -> str:
        """Why one component has its precision and residency, in one line."""
        said = [self._of_precision(name), self._of_residency(name)]
        return "; ".join(dict.fromkeys(text for text in said if text))

    def warnings(self) -> Iterator[str]:
        """What could not be had, one line each."""
        if self._own.paint.weights != self._used.paint.weights:
            least = min((found.peak_bytes for found in fits(self._own)), default=0)
            yield (
                f"{self._own.paint.weights} fits in no way (at least {gib(least)} of "
                f"{gib(self._own.limit_bytes)}, or too much for the host's memory); "
                f"{self._used.paint.weights} takes its place"
            )
        yield from self._of_wishes()
        for weights in self._used.unknown:
            yield f"{weights}: nothing is known of its size; planned as if it took nothing"
        if not self._fit.has_room(self._used):
            yield (
                f"nothing fits: the smallest plan takes {gib(self._fit.peak_bytes)} of "
                f"{gib(self._used.limit_bytes)} and {gib(self._fit.host_bytes)} of the host's "
                f"{gib(self._used.card.host_bytes)}"
            )

    def _of_wishes(self) -> Iterator[str]:
        """Wishes that were refused, and those that came to something else."""
        if self._own.memory != self._used.memory:
            yield (
                "the precision or residency that was asked for does not fit in "
                f"{gib(self._own.limit_bytes)} with {gib(self._own.card.host_bytes)} of host "
                "memory, or cannot be combined; all was chosen freely"
            )
            return
        told: dict[str, None] = {}
        for name in self._used.parts:
            settled = self._used.wanted_precision(name)
            if settled is not None and settled.reasons:
                told[f"{name}: {settled.precision}, because {'; '.join(settled.reasons)}"] = None
            asked, place = self._used.memory.residency_of.get(name), self._fit.rung.residency[name]
            if asked is not None and asked != place:
                told[f"{name}: {place}, because {asked} is the same memory on a CPU"] = None
        yield from told

    def _of_precision(self, name: Component) -> str:
        used, precision = self._used, self._fit.rung.precision[name]
        settled = used.wanted_precision(name)
        if settled is not None:
            return "; ".join([*settled.reasons, f"so {precision}"]) if settled.reasons else "as set"
        own = own_precision(used.card, used.parts[name], used.installed)
        if precision == own.precision:
            return "; ".join(own.reasons)
        if not self._resident:
            return f"{precision} is smaller"
        return self._too_large(f"in {own.precision}", self._resident[0].peak_bytes)

    def _of_residency(self, name: Component) -> str:
        used, place = self._used, self._fit.rung.residency[name]
        if used.wanted_residency(name) is not None:
            return "as set"
        if place == "cpu" and not onnxruntime_has_kernels(used.card):
            return "onnxruntime has no kernels for this card"
        if name == "dreamgaussian" and place == used.rollback != "resident":
            return "as the rollback's settings say"
        if place == "resident":
            return "fits" if self._fit.has_room(used) else "smallest"
        least = min((found.peak_bytes for found in self._resident), default=0)
        return self._too_large("all resident", least)

    def _too_large(self, how: str, size: int) -> str:
        limit = self._used.limit_bytes
        if size <= limit:
            return f"{how} leaves no room in the host's memory"
        return f"{how} it would take {gib(size)} of {gib(limit)}"

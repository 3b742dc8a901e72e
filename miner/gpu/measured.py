"""A plan beside what was then measured, and a plan as fields of a log line.

Only compares; a plan that was wrong is not changed by it, but the operator is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from miner.gpu.plan import MemoryPlan
from miner.gpu.reasons import gib

WHOLE = "all"
"""In place of a component: the peak of the whole plan."""

TOLERANCE = 1.15
"""Times the planned peak that a measured one may be before it is worth a warning."""


@dataclass(frozen=True)
class Comparison:
    """One figure of the plan and what it came to.

    Attributes:
        what: a component, or ``WHOLE``.
    """

    what: str
    planned_bytes: int
    measured_bytes: int

    @property
    def ratio(self) -> float:
        """Measured over planned; 0 where nothing was planned."""
        return self.measured_bytes / self.planned_bytes if self.planned_bytes else 0.0

    @property
    def is_over(self) -> bool:
        """Whether more was taken than the plan can be off by."""
        return self.measured_bytes > self.planned_bytes * TOLERANCE

    def __str__(self) -> str:
        planned, measured = gib(self.planned_bytes), gib(self.measured_bytes)
        return f"{self.what}: {measured} measured, {planned} planned ({self.ratio:.2f} times)"


def compare(plan: MemoryPlan, peaks: Mapping[str, int]) -> list[Comparison]:
    """What was measured beside what was planned, in the plan's order, the whole first.

    Args:
        plan: that was kept to.
        peaks: most bytes in use on the device, resident neighbours included, by the component that
            ran; components that never ran are absent.
    """
    resident = sum(stage.resident_bytes for stage in plan.stages)
    found = [
        Comparison(
            stage.component,
            resident - stage.resident_bytes + stage.peak_bytes,
            peaks[stage.component],
        )
        for stage in plan.stages
        if stage.component in peaks
    ]
    if found:
        whole = max(one.measured_bytes for one in found)
        found.insert(0, Comparison(WHOLE, plan.peak_bytes, whole))
    return found


def log_fields(plan: MemoryPlan) -> dict[str, Any]:
    """A plan as the fields of the log event ``memory_plan``."""
    return {
        "card": plan.card.name,
        "painter": plan.painter,
        "peak_bytes": plan.peak_bytes,
        "limit_bytes": plan.limit_bytes,
        "seconds": None if plan.seconds is None else round(plan.seconds, 3),
        "stages": {
            stage.component: f"{stage.model}: {stage.precision} {stage.residency} ({stage.reason})"
            for stage in plan.stages
        },
        "warnings": list(plan.warnings),
    }

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

PEAK = "gpu_peak"
"""A worker's reading: the most that live tensors held at once, since it began."""

PEAK_OF = "gpu_peak_of_"
"""Before a component's name: the same while that component ran, with the way to the device."""

UNSEEN = ("matting",)
"""Components whose memory is not torch's but onnxruntime's.

Their figure is what the process holds outside torch after a run, beside torch's tensors. Their
first run keeps its memory, so the most of all is the first run's peak.
"""

TOLERANCE = 1.15
"""Times the planned peak that a measured one may be before it is worth a warning."""


@dataclass(frozen=True)
class Comparison:
    """One figure of the plan and what it came to.

    Attributes:
        what: a component, or ``WHOLE``.
        planned_bytes, measured_bytes: most on the device at once, whoever held it.
        others_bytes: of them, what the plan says that others hold.
    """

    what: str
    planned_bytes: int
    measured_bytes: int
    others_bytes: int = 0

    @property
    def own_bytes(self) -> int:
        """Measured, without what others hold: to be set beside a stage's ``peak_bytes``."""
        return max(0, self.measured_bytes - self.others_bytes)

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
            ran; components that never ran are absent. Under ``WHOLE``, where it is known, the most
            at any time, loading included.
    """
    resident = sum(stage.resident_bytes for stage in plan.stages)
    found = []
    for stage in plan.stages:
        if stage.component in peaks:
            others = resident - stage.resident_bytes
            planned, measured = others + stage.peak_bytes, peaks[stage.component]
            found.append(Comparison(stage.component, planned, measured, others))
    highest = max(peaks.values(), default=0)
    return [Comparison(WHOLE, plan.peak_bytes, highest), *found] if highest else []


def peaks_of(memory: Mapping[str, int]) -> dict[str, int]:
    """A worker's readings of memory as ``compare`` takes them; empty where none are of a GPU."""
    ours = (name for name in memory if name.startswith(PEAK_OF))
    peaks = {name.removeprefix(PEAK_OF): memory[name] for name in ours}
    return {WHOLE: memory[PEAK], **peaks} if PEAK in memory else peaks


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

"""A plan's bytes beside those that were counted on the networks themselves.

Only the values, without torch; ``pipeline/verify.py`` counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from miner.settings.memory import Component, Precision

TOLERANCE = 0.03
"""Share of the plan by which a count may differ from it."""


@dataclass(frozen=True)
class Count:
    """One component's bytes.

    Attributes:
        component: of the plan.
        precision: planned.
        source: ``folder`` (sizes read on this machine), ``published``, ``file`` (an ONNX file on
            this machine) or ``download`` (the published size of one).
        counted_bytes, planned_bytes: of the weights.
    """

    component: Component
    precision: Precision
    source: str
    counted_bytes: int
    planned_bytes: int

    @property
    def difference(self) -> float:
        """Of the count from the plan, as a share of the plan."""
        return self.counted_bytes / max(1, self.planned_bytes) - 1

    @property
    def is_off(self) -> bool:
        """Whether the plan is further from the truth than it may be."""
        return abs(self.difference) > TOLERANCE

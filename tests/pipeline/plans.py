"""Memory plans for tests: every part as the test says, without a planner."""

from __future__ import annotations

from miner.gpu.plan import COMPONENTS, Card, MemoryPlan, StagePlan
from miner.settings.memory import Component, Precision, Residency

GIB = 1 << 30


def plan(
    residency: Residency = "resident",
    precision: Precision = "fp32",
    limit_bytes: int = 8 * GIB,
    residency_of: dict[Component, Residency] | None = None,
    precision_of: dict[Component, Precision] | None = None,
    painter: str = "tiny",
) -> MemoryPlan:
    """All components alike, but for those that are named."""
    stages = tuple(
        StagePlan(
            component,
            "tiny",
            (precision_of or {}).get(component, precision),
            (residency_of or {}).get(component, residency),
            1,
            1,
            None,
            "the test says so",
        )
        for component in COMPONENTS
    )
    card = Card("cpu", limit_bytes, limit_bytes, None, limit_bytes)
    return MemoryPlan(card, stages, painter, 1, limit_bytes)

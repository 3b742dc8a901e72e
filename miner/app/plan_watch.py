"""Tells of the memory plan that the workers keep to, and when they take more than it said.

Reads what the workers say of themselves; nothing here changes a plan. On a CPU nothing is measured,
because there a process's memory holds more than models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from miner.gpu.measured import WHOLE, Comparison, log_fields
from miner.gpu.plan import MemoryPlan

PEAK = "gpu_peak"
"""The reading of a worker that is compared: the most that live tensors held."""

log = structlog.get_logger(__name__)


class PlannedWorker(Protocol):
    """What is read of an executor's ``WorkerHealth``."""

    @property
    def name(self) -> str:
        """Stable over restarts."""

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes, by name."""

    @property
    def plan(self) -> Mapping[str, Any]:
        """As ``MemoryPlan.as_json``; empty before it is ready."""


class PlanMetrics(Protocol):
    """What is told to the metrics."""

    def plan_measured(self, component: str, peak_bytes: int) -> None:
        """The most that was in use."""


class PlanWatch:
    """Looks at the workers now and then.

    Args:
        metrics: told of what was measured.
    """

    def __init__(self, metrics: PlanMetrics) -> None:
        self._metrics = metrics
        self._plans: dict[str, MemoryPlan] = {}  # by worker; the last one told of
        self._over: dict[str, int] = {}  # by worker; the highest peak told of

    def look(self, workers: Sequence[PlannedWorker]) -> None:
        """Tells of plans that are new and of peaks that are higher than any before."""
        highest = 0
        for worker in workers:
            if worker.plan:
                self._look_at(worker)
                highest = max(highest, worker.memory.get(PEAK, 0))
        if highest:
            self._metrics.plan_measured(WHOLE, highest)

    def _look_at(self, worker: PlannedWorker) -> None:
        plan = MemoryPlan.from_json(worker.plan)
        if plan != self._plans.get(worker.name):
            self._plans[worker.name] = plan
            self._over.pop(worker.name, None)
            log.info("memory_plan", worker=worker.name, **log_fields(plan))
        found = Comparison(WHOLE, plan.peak_bytes, worker.memory.get(PEAK, 0))
        if found.is_over and found.measured_bytes > self._over.get(worker.name, 0):
            self._over[worker.name] = found.measured_bytes
            log.warning("memory_plan_exceeded", worker=worker.name, comparison=str(found))

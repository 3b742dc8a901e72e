"""Tells of the memory plan that the workers keep to, and when they take more than it said.

Reads what the workers say of themselves; nothing here changes a plan. On a CPU nothing is measured,
because there a process's memory holds more than models. On a GPU the peaks are those of torch's
tensors; matting's is with what the process holds outside torch, by the driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from miner.gpu.measured import compare, log_fields, peaks_of
from miner.gpu.plan import MemoryPlan

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
        # By worker: the last one told of, with what it was read from. Of a large fleet most are the
        # same object from one look to the next, and need not be read again.
        self._plans: dict[str, tuple[Mapping[str, Any], MemoryPlan]] = {}
        self._over: dict[tuple[str, str], int] = {}  # by worker and figure; the highest told of

    def look(self, workers: Sequence[PlannedWorker]) -> None:
        """Tells of plans that are new and of peaks that are higher than any before."""
        highest: dict[str, int] = {}
        for worker in workers:
            if worker.plan:
                for what, own in self._look_at(worker).items():
                    highest[what] = max(own, highest.get(what, 0))
        for what, own in highest.items():
            self._metrics.plan_measured(what, own)

    def _look_at(self, worker: PlannedWorker) -> dict[str, int]:
        """What each component of one worker took for itself, and all together."""
        plan, is_new = self._plan_of(worker)
        if is_new:
            self._over = {key: peak for key, peak in self._over.items() if key[0] != worker.name}
            log.info("memory_plan", worker=worker.name, **log_fields(plan))
        found = compare(plan, peaks_of(worker.memory))
        for one in found:
            key = worker.name, one.what
            if one.is_over and one.measured_bytes > self._over.get(key, 0):
                self._over[key] = one.measured_bytes
                log.warning("memory_plan_exceeded", worker=worker.name, comparison=str(one))
        return {one.what: one.own_bytes for one in found}

    def _plan_of(self, worker: PlannedWorker) -> tuple[MemoryPlan, bool]:
        """A worker's plan, and whether it is another than the last one told of."""
        said, known = self._plans.get(worker.name, ({}, None))
        if known is not None and said is worker.plan:
            return known, False
        plan = MemoryPlan.from_json(worker.plan)
        self._plans[worker.name] = worker.plan, plan
        return plan, plan != known

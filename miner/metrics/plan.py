"""Instruments of the memory plan: what was planned for each component, and what it then took."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from miner.metrics.part import Part, set_or_remove
from miner.readings import PlanReading


class PlanMetrics(Part):
    """The plans that the workers keep to; a component that several hold has one plan."""

    def __init__(self) -> None:
        super().__init__()
        self._plan = _PlanInstruments(self.registry)

    def plan(self, plan: PlanReading) -> None:
        """A worker is ready with this plan, which takes the place of the one before.

        What was said of a component that it lacks stays: workers of another kind hold that.
        """
        for stage in plan.stages:
            name = self._bound("plan_component", stage.component)
            values = ("plan_model", stage.model), ("precision", stage.precision)
            labels = [self._bound(label, value) for label, value in values]
            place = self._bound("residency", stage.residency)
            if said := self._plan.said.get(name):
                self._plan.info.remove(*said)
            self._plan.said[name] = (name, *labels, place)
            self._plan.info.labels(*self._plan.said[name]).set(1)
            self._plan.bytes.labels(name, "weights").set(stage.weight_bytes)
            self._plan.bytes.labels(name, "peak").set(stage.peak_bytes)
            set_or_remove(self._plan.bytes, (name, "measured"), None)
            set_or_remove(self._plan.seconds, (name,), stage.seconds)
        self._plan.peak.set(plan.peak_bytes)
        self._plan.limit.set(plan.limit_bytes)
        self._plan.warnings.set(len(plan.warnings))

    def plan_measured(self, component: str, peak_bytes: int) -> None:
        """The most on the device at once: of a component while it ran, or of all together."""
        name = self._bound("plan_component", component)
        self._plan.bytes.labels(name, "measured").set(peak_bytes)


class _PlanInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self.info = gauge(
            "miner_plan_info",
            "1 for how a component of the models is run.",
            ["component", "model", "precision", "residency"],
        )
        self.said: dict[str, tuple[str, ...]] = {}  # labels of the above, by component
        self.bytes = gauge(
            "miner_plan_bytes",
            "Planned for a component's weights and for its peak, and the peak measured.",
            ["component", "kind"],
        )
        self.seconds = gauge(
            "miner_plan_seconds", "Expected of a component for one prompt.", ["component"]
        )
        self.peak = gauge("miner_plan_peak_bytes", "Most on the device at once, as planned.")
        self.limit = gauge("miner_plan_limit_bytes", "What the plan may take of the device.")
        self.warnings = gauge("miner_plan_warnings", "Things that could not be had as asked.")

"""Telling of the plan, and of what it did not foresee."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from structlog.testing import capture_logs

from miner.app.plan_watch import PlanWatch
from miner.gpu.plan import Card, MemoryPlan, StagePlan

GIB = 1024**3
PLAN = MemoryPlan(
    Card("a card", 24 * GIB, 24 * GIB, (8, 9), 64 * GIB),
    (StagePlan("vae", "FLUX autoencoder", "bf16", "resident", GIB, 2 * GIB, None, "fits"),),
    "flux-schnell",
    peak_bytes=2 * GIB,
    limit_bytes=22 * GIB,
).as_json()


@dataclass
class Worker:
    """What a worker says of itself."""

    name: str = "0"
    memory: Mapping[str, int] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)


class Gauges:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def plan_measured(self, component: str, peak_bytes: int) -> None:
        """As in ``Metrics``."""
        self.told.append((component, peak_bytes))


def test_a_plan_is_told_once_and_again_when_it_changes() -> None:
    """Not at every look; a worker that is not ready has none."""
    watch = PlanWatch(Gauges())
    with capture_logs() as lines:
        for plan in ({}, PLAN, PLAN, {**PLAN, "peak_bytes": GIB}):
            watch.look([Worker(plan=plan)])

    assert [line["event"] for line in lines] == ["memory_plan", "memory_plan"]
    assert lines[0]["stages"] == {"vae": "FLUX autoencoder: bf16 resident (fits)"}


def test_a_peak_above_the_plan_is_told_once() -> None:
    """Within the plan's tolerance nothing is said; above it each new record is."""
    gauges = Gauges()
    watch = PlanWatch(gauges)
    with capture_logs() as lines:
        for peak in (2 * GIB, 3 * GIB, 3 * GIB, 4 * GIB):
            watch.look([Worker(plan=PLAN, memory={"gpu_peak": peak})])

    told = [line["comparison"] for line in lines if line["event"] == "memory_plan_exceeded"]
    assert told == [
        "all: 3.0 GiB measured, 2.0 GiB planned (1.50 times)",
        "all: 4.0 GiB measured, 2.0 GiB planned (2.00 times)",
    ]
    assert gauges.told[-1] == ("all", 4 * GIB)


def test_a_cpu_measures_nothing() -> None:
    """Without a reading of the device there is neither a warning nor a gauge."""
    gauges = Gauges()
    watch = PlanWatch(gauges)
    with capture_logs() as lines:
        watch.look([Worker(plan=PLAN, memory={"resident": 99 * GIB})])

    assert [line["event"] for line in lines] == ["memory_plan"]
    assert gauges.told == []


def test_each_component_is_told_of_with_the_most_of_all_workers() -> None:
    """A gauge for every component that ran; the one above its plan is named in the warning."""
    gauges = Gauges()
    watch = PlanWatch(gauges)
    readings = [{"gpu_peak": 3 * GIB, "gpu_peak_of_vae": peak * GIB} for peak in (2, 3)]
    with capture_logs() as lines:
        watch.look([Worker(str(n), plan=PLAN, memory=one) for n, one in enumerate(readings)])

    assert sorted(gauges.told) == [("all", 3 * GIB), ("vae", 3 * GIB)]
    told = [line["comparison"] for line in lines if line["event"] == "memory_plan_exceeded"]
    assert told[-1] == "vae: 3.0 GiB measured, 2.0 GiB planned (1.50 times)"

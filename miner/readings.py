"""What the metrics read of workers, devices and the journal: shapes only.

Each is met by a value of the part it is about (``executor.WorkerHealth``, ``telemetry.GpuReading``,
``journal.JournalStats``, ``chain_reading.Standing``), so that the metrics depend on none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class WorkerReading(Protocol):
    """What is read of an executor's ``WorkerHealth``."""

    @property
    def name(self) -> str:
        """Stable over restarts."""

    @property
    def state(self) -> str:
        """One of ``WorkerState``."""

    @property
    def node(self) -> str | None:
        """The host it runs on; None for the daemon's own."""

    @property
    def generators(self) -> Sequence[str]:
        """That it holds."""

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since the last sign of life."""

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes, by the names of ``metrics.WORKER_MEMORY``."""

    @property
    def load_seconds(self) -> Mapping[str, float]:
        """By stage."""


class DeviceReading(Protocol):
    """What is read of a ``GpuReading``; None where the driver does not say."""

    @property
    def label(self) -> str:
        """Its index in the driver's order, and of a MIG part that one's after a colon."""

    @property
    def name(self) -> str:
        """The product."""

    @property
    def used_bytes(self) -> int | None:
        """Memory in use, by whomever."""

    @property
    def total_bytes(self) -> int | None:
        """Memory there is."""

    @property
    def utilization(self) -> float | None:
        """Share of the time a kernel ran, 0 to 1."""

    @property
    def celsius(self) -> float | None:
        """Temperature of the chip."""

    @property
    def watts(self) -> float | None:
        """Power drawn."""


class JournalReading(Protocol):
    """What is read of the journal's statistics."""

    @property
    def file_bytes(self) -> int:
        """Of the database and its log."""

    @property
    def result_bytes(self) -> int:
        """Of all kept results."""

    @property
    def commits(self) -> int:
        """Since the daemon began."""

    @property
    def commit_seconds(self) -> float:
        """What the last commit took."""

    @property
    def failed(self) -> str | None:
        """Why the last commit failed."""


class StandingReading(Protocol):
    """What is read of how we stand in the subnet."""

    @property
    def registered(self) -> bool:
        """Without it only ``block`` holds."""

    @property
    def block(self) -> int:
        """At which it was read."""

    @property
    def uid(self) -> int | None:
        """Our place."""

    @property
    def rank(self) -> int | None:
        """1 for the highest incentive."""

    @property
    def incentive(self) -> float:
        """0 to 1."""

    @property
    def emission(self) -> float:
        """Alpha of the last tempo."""

    @property
    def stake(self) -> float:
        """Alpha."""

    @property
    def immune_blocks(self) -> int:
        """Until a newcomer may take our place."""


class StagePlanReading(Protocol):
    """What is read of one component of a memory plan."""

    @property
    def component(self) -> str:
        """One of ``plan.COMPONENTS``."""

    @property
    def model(self) -> str:
        """Which model plays the part."""

    @property
    def precision(self) -> str:
        """Its numbers."""

    @property
    def residency(self) -> str:
        """Where it waits."""

    @property
    def weight_bytes(self) -> int:
        """Of its weights."""

    @property
    def peak_bytes(self) -> int:
        """On the device while it runs, its own."""

    @property
    def seconds(self) -> float | None:
        """Expected for one prompt."""


class PlanReading(Protocol):
    """What is read of a ``plan.MemoryPlan``."""

    @property
    def stages(self) -> Sequence[StagePlanReading]:
        """One for each component in use."""

    @property
    def peak_bytes(self) -> int:
        """Most on the device at once."""

    @property
    def limit_bytes(self) -> int:
        """What the plan was allowed."""

    @property
    def warnings(self) -> Sequence[str]:
        """What could not be had as asked."""

"""A job inside a worker process, from the channel to its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from miner.job import JobSpec, Plan
from miner.pipeline.cancel import CancelFlag


@dataclass(eq=False)
class Work:
    """A job here, until its answer is sent.

    Attributes:
        came_at: monotonic seconds; it may wait for one that went back to the device.
    """

    number: int
    spec: JobSpec
    plan: Plan
    cancel: CancelFlag = field(default_factory=CancelFlag)
    came_at: float = field(default_factory=time.monotonic)

    def plan_now(self) -> Plan:
        """The plan with the time left now."""
        waited = time.monotonic() - self.came_at
        left = {
            name: max(0.0, seconds - waited)
            for name in ("seconds", "free_seconds")
            if (seconds := getattr(self.plan, name)) is not None
        }
        return replace(self.plan, **left)

"""What a simulated fleet is put through: how busy it is, whose jobs they are, what is lost.

All times are simulated seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Kind:
    """Jobs of one requester.

    Attributes:
        name: in tables and plots.
        priority: the requester's stake.
        share: of the jobs offered; the shares of a scenario need not add up to 1.
    """

    name: str
    priority: float
    share: float = 0.5


HIGH, LOW = Kind("high", 10_000.0), Kind("low", 1_000.0)
"""The stakes of two validators."""


@dataclass(frozen=True)
class Loss:
    """Cards go, with the jobs on them.

    Attributes:
        share: of all cards.
        at: since the first job.
        back_after: until they are there again and begin to load; None for good.
    """

    share: float = 0.1
    at: float = HOUR / 2
    back_after: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        seconds: mean of a job, on the device.
        jobs, during: so many are offered, at random times within so long.
        timeout: that callers give their jobs.
        heartbeat_seconds: between two signs of life of a card.
    """

    title: str
    seconds: float
    kinds: tuple[Kind, ...] = (HIGH, LOW)
    loss: Loss | None = None
    gpus: int = 1000
    jobs: int = 10_000
    during: float = HOUR
    timeout: float = 600.0
    heartbeat_seconds: float = 30.0

    @property
    def load(self) -> float:
        """The share of its time that a card is busy, while all are there and all jobs done."""
        return self.seconds * self.jobs / self.during / self.gpus


BACK = 600.0

CALM = Scenario("30 s a job, calm", 30.0)
CALM_LOST = Scenario("30 s a job, a tenth lost", 30.0, loss=Loss())
BUSY = Scenario("324 s a job, 90% busy", 324.0)
BUSY_LOST = Scenario("324 s a job, a tenth lost", 324.0, loss=Loss())
BUSY_BACK = Scenario("324 s a job, lost and back", 324.0, loss=Loss(back_after=BACK))
FULL = Scenario("396 s a job, 110% busy", 396.0)

SCENARIOS = (CALM, CALM_LOST, BUSY, BUSY_LOST, BUSY_BACK, FULL)

"""What became of the jobs of a simulated fleet, and what its cards were at meanwhile.

All times are simulated seconds since the first job could come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.fleet.scenarios import Scenario

REFUSED = ("deadline_too_short", "queue_full")
MISSED = "deadline_exceeded"
FATES = ("done", "missed", "refused", "other")


@dataclass(frozen=True)
class Offered:
    """One job.

    Attributes:
        kind: the name of its kind.
        at, ended: when it was offered and when it had its outcome.
        waited: from its acceptance to its first beginning; None where it never began.
        code: "ok", or that of its error.
    """

    kind: str
    at: float
    ended: float
    waited: float | None
    code: str

    @property
    def fate(self) -> str:
        """One of ``FATES``."""
        if self.code in REFUSED:
            return "refused"
        return {"ok": "done", MISSED: "missed"}.get(self.code, "other")


@dataclass(frozen=True)
class Sample:
    """The cards at one moment.

    Attributes:
        alive: that can take jobs, now or after the one in hand.
        busy: of those, that have one in hand.
    """

    at: float
    alive: int
    busy: int


@dataclass
class Record:
    """One run.

    Attributes:
        hit: jobs in hand on cards at the moment they were lost.
        retried: that were begun once more.
        computing_seconds: of the processor, that the simulation took.
    """

    scenario: Scenario
    jobs: list[Offered] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    hit: int = 0
    retried: int = 0
    computing_seconds: float = 0.0

    @property
    def fates(self) -> Counter[str]:
        """Jobs by what became of them."""
        return Counter(job.fate for job in self.jobs)

    def waits(self, kind: str, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """Of the jobs of a kind that were offered within that time and begun, ascending."""
        return sorted(
            job.waited
            for job in self.jobs
            if job.kind == kind and job.waited is not None and since <= job.at < until
        )

    def row(self) -> Mapping[str, str]:
        """For the table."""
        row = {"scenario": self.scenario.title, "jobs": str(len(self.jobs))}
        for kind in self.scenario.kinds:
            waits = self.waits(kind.name) or [0.0]
            row[f"{kind.name} p50"] = f"{quantile(waits, 0.5):.1f}"
            row[f"{kind.name} p99"] = f"{quantile(waits, 0.99):.1f}"
        row |= {fate: str(self.fates[fate]) for fate in FATES}
        return row | {
            "hit": str(self.hit),
            "retried": str(self.retried),
            "took": f"{self.computing_seconds:.1f}",
        }


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value that so many are not above; there must be one."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]

"""Which workers are slow: by what their jobs take beside those of the others.

A card that is throttled, shared with somebody or about to die still answers, only late. Compared
are medians of the last jobs, so that one long job makes nobody slow; a fleet that is slow as a
whole has no slow worker. Keeps numbers alone: what is done about it is the executor's business.
"""

from __future__ import annotations

from collections import deque
from statistics import median

MIN_OTHERS = 2
"""With fewer to compare with nobody can say who is slow."""


class Paces:
    """The last jobs of every worker.

    Args:
        factor: so many times the median of the others is slow; 0 finds nobody slow.
        jobs: how many of each worker are looked at.
    """

    def __init__(self, factor: float, jobs: int) -> None:
        self._factor = factor
        self._jobs = jobs
        self._seconds: dict[str, deque[float]] = {}

    def did(self, worker: str, seconds: float) -> None:
        """A worker has done a job in so many seconds."""
        self._seconds.setdefault(worker, deque(maxlen=self._jobs)).append(seconds)

    def forget(self, worker: str) -> None:
        """Its next jobs are another's: it was replaced, or has left."""
        self._seconds.pop(worker, None)

    def times_slower(self, worker: str) -> float | None:
        """How many times what the others take a slow worker takes; None where it is not slow."""
        own = self._seconds.get(worker, ())
        if not self._factor or len(own) < self._jobs:
            return None
        others = [
            median(seconds)
            for name, seconds in self._seconds.items()
            if name != worker and len(seconds) == self._jobs
        ]
        if len(others) < MIN_OTHERS:
            return None
        times = median(own) / max(median(others), 1e-6)
        return times if times >= self._factor else None

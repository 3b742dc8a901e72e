"""What jobs have been taking, and when one more would be done.

Measured, not configured: the last jobs that succeeded, for a limited time, so that a slow spell is
forgotten even when it made the queue refuse everything. Pictures and prompts are not told apart.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

MAX_SAMPLES = 64
MAX_AGE_SECONDS = 600.0
CAUTIOUS_QUANTILE = 0.9
"""One job in ten takes longer; refusing more would turn work away that could be done."""


class ServiceTime:
    """The window of measurements. All times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)
        self._sorted: list[float] = []

    def add(self, seconds: float, now: float) -> None:
        """A job took so long, from being handed over to its result."""
        self._samples.append((now, max(0.0, seconds)))
        self._sorted = sorted(sample for _, sample in self._samples)

    def clear(self) -> None:
        """Forgets all measurements."""
        self._samples.clear()
        self._sorted = []

    def typical(self, now: float) -> float | None:
        """The median; None without measurements."""
        return self._quantile(0.5, now)

    def cautious(self, now: float) -> float | None:
        """What all but a few keep within; None without measurements."""
        return self._quantile(CAUTIOUS_QUANTILE, now)

    def fastest(self, now: float) -> float:
        """What none was faster than; 0 without measurements."""
        return self._quantile(0.0, now) or 0.0

    def _quantile(self, share: float, now: float) -> float | None:
        self._forget(now)
        if not self._sorted:
            return None
        return self._sorted[max(0, math.ceil(share * len(self._sorted)) - 1)]

    def _forget(self, now: float) -> None:
        if not self._samples or self._samples[0][0] > now - MAX_AGE_SECONDS:
            return
        while self._samples and self._samples[0][0] <= now - MAX_AGE_SECONDS:
            self._samples.popleft()
        self._sorted = sorted(sample for _, sample in self._samples)


def wait_seconds(ahead: int, elapsed: Sequence[float], slots: int, typical: float) -> float:
    """How long until one more job begins, if every job takes ``typical`` seconds.

    Args:
        ahead: jobs that wait and go before it.
        elapsed: seconds since each of the running jobs began, in any order. Of more than ``slots``
            the latest count: the others have left the device and are being encoded.
        slots: jobs that run at a time; at least 1.
        typical: seconds.
    """
    latest = sorted(elapsed)[:slots]
    free = sorted([0.0] * (slots - len(latest)) + [max(0.0, typical - e) for e in latest])
    # No slot's remaining time exceeds one job: so every ``slots`` jobs move all of them by one.
    return free[ahead % slots] + (ahead // slots) * typical

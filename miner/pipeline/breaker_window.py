"""How the last jobs of a generator went, and whether that is bad enough to leave it. Pure."""

from __future__ import annotations

import math
from collections import Counter, deque

from miner.settings.rollback import RollbackSettings

MAX_REMEMBERED = 1000
"""Jobs: more would change no share that matters."""

LATENCY = "latency"


class Window:
    """Outcomes of a limited time. All times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[float, str]] = deque(maxlen=MAX_REMEMBERED)
        self._times: deque[tuple[float, float]] = deque(maxlen=MAX_REMEMBERED)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._outcomes.clear()
        self._times.clear()

    def worked(self, now: float, seconds: float) -> None:
        """A job gave its result, after so many seconds."""
        self._outcomes.append((now, ""))
        self._times.append((now, seconds))

    def failed(self, now: float, cause: str) -> None:
        """A job did not."""
        self._outcomes.append((now, cause))

    def verdict(self, now: float, settings: RollbackSettings) -> str | None:
        """Why the generator is to be left; None while it may stay."""
        self._forget(now - settings.window_seconds)
        causes = [cause for _, cause in self._outcomes if cause]
        if len(causes) >= settings.failures and (
            len(causes) / len(self._outcomes) >= settings.failure_share
        ):
            return Counter(reversed(causes)).most_common(1)[0][0]  # of equals the latest
        return LATENCY if self._too_slow(settings) else None

    def _too_slow(self, settings: RollbackSettings) -> bool:
        if not settings.latency_seconds or len(self._times) < settings.latency_jobs:
            return False
        ordered = sorted(seconds for _, seconds in self._times)
        place = math.ceil(settings.latency_quantile * len(ordered)) - 1
        return ordered[place] > settings.latency_seconds

    def _forget(self, before: float) -> None:
        while self._outcomes and self._outcomes[0][0] < before:
            self._outcomes.popleft()
        while self._times and self._times[0][0] < before:
            self._times.popleft()

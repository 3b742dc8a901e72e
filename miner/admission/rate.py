"""Token buckets by key, in a table that cannot outgrow its bound.

A bucket is kept as one number: the moment at which it will be full again. A bucket that is full is
the same as none, so idle keys cost nothing. When the table is at its bound the key that was quiet
the longest is forgotten, which gives it a full bucket: whoever owns more keys than the table holds
is not slowed by it. One event loop; nothing here waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBuckets:
    """A bucket for each key, all with one rate and one size."""

    def __init__(
        self,
        per_second: float,
        burst: int,
        max_keys: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert max_keys >= 1
        self._max_keys = max_keys
        self._clock = clock
        # By key: when the bucket will be full. Least recently served first. Written here only.
        self._full_at: dict[str, float] = {}
        self._interval = self._slack = 1.0
        self.set_rate(per_second, burst)

    def __len__(self) -> int:
        return len(self._full_at)

    def set_rate(self, per_second: float, burst: int) -> None:
        """Rate and size from now on; tokens that are missing in a bucket stay missing."""
        assert per_second > 0 and burst >= 1
        now, scale = self._clock(), 1.0 / per_second / self._interval
        for key, full_at in self._full_at.items():
            self._full_at[key] = now + (full_at - now) * scale
        self._interval = 1.0 / per_second
        self._slack = (burst - 1) * self._interval

    def take(self, key: str) -> float:
        """Takes one token of the key's bucket.

        Returns:
            0 when there was one; else the seconds until there will be, and nothing was taken.
        """
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - self._slack
        # Sums of intervals carry rounding; a billionth of a second is not worth a refusal.
        if wait > 1e-9:
            return wait
        self._full_at.pop(key, None)
        self._make_room(now)
        self._full_at[key] = full_at + self._interval
        return 0.0

    def _make_room(self, now: float) -> None:
        """Forgets two idle buckets a call, and the quietest one where the table is full."""
        for _ in range(2):
            oldest = next(iter(self._full_at), None)
            if oldest is None or self._full_at[oldest] > now:
                break
            del self._full_at[oldest]
        if len(self._full_at) >= self._max_keys:
            del self._full_at[next(iter(self._full_at))]

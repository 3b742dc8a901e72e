"""How often gateways are called: never more than they allow, and less where it is of no use.

Gateways count the calls of an address over a minute, questions and results together. One event
loop; nothing here waits, it only says how long to.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from miner.admission.rate import TokenBuckets
from miner.errors import GatewayError, GatewayUnavailable

MAX_BACKOFF_SECONDS: Final = 60.0
REFUSED_SECONDS: Final = 300.0
"""A gateway that does not know our hotkey will not have learnt of it a moment later."""
BURST_SHARE: Final = 6
"""Of a minute's calls one in so many may come at once: together they stay under the limit."""


@dataclass(frozen=True)
class Clocks:
    """Seconds since any moment, seconds since 1970, and how to wait for some."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


CLOCKS = Clocks()


class Budget:
    """The calls to all gateways together.

    Args:
        calls_per_minute: on average; a sixth of that more in a minute that follows a quiet one.
        clock: monotonic seconds.
    """

    def __init__(self, calls_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        burst = max(1, calls_per_minute // BURST_SHARE)
        self._buckets = TokenBuckets(calls_per_minute / 60, burst, max_keys=1, clock=clock)

    def take(self) -> float:
        """0 where a call may be made, which is counted; else the seconds until one may."""
        return self._buckets.take("calls")


class Backoff:
    """How long to wait after failures in a row; each wait is drawn, so that callers spread.

    Args:
        first_seconds: the longest wait after the first failure; it doubles with each.
        draw: from 0 to 1.
    """

    def __init__(self, first_seconds: float, draw: Callable[[], float] = random.random) -> None:
        self._first_seconds = first_seconds
        self._draw = draw
        self.failures = 0

    def after(self, error: GatewayError) -> float:
        """Seconds to wait after one more failure, and no less than the gateway asks for."""
        self.failures += 1
        if not isinstance(error, GatewayUnavailable):
            return REFUSED_SECONDS
        doubled = self._first_seconds * 2.0 ** min(self.failures - 1, 32)
        longest = min(doubled, max(MAX_BACKOFF_SECONDS, self._first_seconds))
        return max(longest * (0.5 + 0.5 * self._draw()), error.retry_seconds)

    def forget(self) -> None:
        """A call succeeded."""
        self.failures = 0

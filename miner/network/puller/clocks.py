"""The clocks of the puller, read together, and what is known of the validators' own.

A validator names moments by its wall clock. Ours may be set while we wait, and may differ from
theirs; the steady clock does neither, and knows no dates. It runs on over a restart of this program
and starts anew with the machine, which ``boot`` tells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """One reading of both clocks.

    Attributes:
        steady: seconds of a clock that nobody sets.
        wall: unix seconds.
        boot: names the life of the machine, for which ``steady`` means something.
    """

    steady: float
    wall: float
    boot: str


def this_boot() -> str:
    """The name of this life of the machine; empty where the system has none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True)
class Clocks:
    """Where the puller has the time from, and how it waits.

    Attributes:
        steady: monotonic seconds.
        wall: unix seconds.
        sleep: returns so many steady seconds later.
        boot: of the machine.
    """

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    boot: str = field(default_factory=this_boot)

    def now(self) -> Moment:
        """Both clocks."""
        return Moment(self.steady(), self.wall(), self.boot)

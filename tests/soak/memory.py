"""Judges a process's memory over minutes: a leak goes on and on, a step is made once.

A life is cut into parts of equal length, and the slope of each is measured by itself. What one
event adds, such as the first job of a worker's second generator, is in one part; a leak is in most
of them. The median of the parts' slopes is therefore the leak's. Steps are bounded by a rule of
their own: the difference between the levels of the first part and of the last. What a process loads
before it is ready is no growth, however long it takes.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

WARM_SECONDS = 10.0
"""From when a process is first ready, in which memory may still grow: caches fill, lazy imports."""

PARTS = 5
"""Of a life; up to two of them may hold a step without moving the median of their slopes."""

LEAST_SECONDS = 100.0
"""After the warm time; less is too short to judge. A part then is 20 s: ten jobs at 0.5 a s."""

LEAST_SAMPLES = 100
"""After the warm time: 20 for each part."""

MOST_PAIRS = 200
"""Points of a part that are compared with each other; more change nothing and take long."""

MIB = 1024**2

GROWTH_BYTES = {"daemon": 32 * MIB, "worker": 64 * MIB}
"""Allowed to a slope over a whole life: what the allocator keeps, not what leaks ..."""

GROWTH_BYTES_PER_HOUR = {"daemon": 8 * MIB, "worker": 32 * MIB}
"""... and for each hour."""

STEPS_BYTES = {"daemon": 64 * MIB, "worker": 512 * MIB}
"""Allowed to all steps of a life together. The first fit of the embedded preset adds 53 to 90 MiB
to a worker (measured on two cores), and larger fits may come after it."""

Points = Sequence[tuple[float, float]]
"""Seconds and bytes, in order of time."""


@dataclass(frozen=True)
class Seen:
    """A process at one moment; without a process or bytes it is skipped."""

    process: Hashable
    at: float
    bytes: int | None
    ready: bool


@dataclass(frozen=True)
class Growth:
    """Memory of one process over its life.

    Attributes:
        steady: bytes that its slope adds over ``seconds``.
        steps: bytes between the level of its first part and that of its last, of whatever shape.
        seconds: how long it was watched once it was warm.
    """

    steady: float
    steps: float
    seconds: float


@dataclass(frozen=True)
class Memory:
    """What is known of the lives of one kind of process.

    Attributes:
        growths: of lives that are long enough to judge.
        longest_seconds: of all lives, once warm; 0 where none was.
    """

    growths: Sequence[Growth]
    longest_seconds: float


def memory(samples: Iterable[Seen]) -> Memory:
    """How each process grew.

    Args:
        samples: in order of time.
    """
    known = (one for one in samples if one.process is not None and one.bytes is not None)
    found, longest = [], 0.0
    for _, life in itertools.groupby(known, key=lambda one: one.process):
        points = warm(life)
        seconds = points[-1][0] - points[0][0] if points else 0.0
        longest = max(longest, seconds)
        parts = cut(points)
        if seconds >= LEAST_SECONDS and len(points) >= LEAST_SAMPLES and all(parts):
            found.append(growth(parts, seconds))
    return Memory(found, longest)


def warm(life: Iterable[Seen]) -> Points:
    """Of one process, from ``WARM_SECONDS`` after it was first ready."""
    used = list(itertools.dropwhile(lambda one: not one.ready, life))
    return [(one.at, float(one.bytes or 0)) for one in used if one.at >= used[0].at + WARM_SECONDS]


def cut(points: Points) -> list[Points]:
    """The parts of a life, equally long in time; one in which nothing was sampled is empty."""
    if not points:
        return []
    start, end = points[0][0], points[-1][0]
    parts: list[list[tuple[float, float]]] = [[] for _ in range(PARTS)]
    for point in points:
        share = (point[0] - start) / (end - start) if end > start else 0.0
        parts[min(PARTS - 1, int(share * PARTS))].append(point)
    return list(parts)


def growth(parts: Sequence[Points], seconds: float) -> Growth:
    """Of a life in parts, none of them empty."""
    levels = [statistics.median(size for _, size in part) for part in parts]
    return Growth(
        steady=statistics.median(slope(part) for part in parts) * seconds,
        steps=levels[-1] - levels[0],
        seconds=seconds,
    )


def slope(points: Points) -> float:
    """Theil and Sen's estimate, units a second, which single high values do not move."""
    step = max(1, len(points) // MOST_PAIRS)
    pairs = itertools.combinations(points[::step], 2)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


def grows(kind: str, found: Growth) -> bool:
    """Whether a life of this kind of process grew by more than it may."""
    by_time = GROWTH_BYTES_PER_HOUR[kind] * found.seconds / 3600
    steady = found.steady > GROWTH_BYTES[kind] + by_time
    return steady or found.steps > STEPS_BYTES[kind] + by_time

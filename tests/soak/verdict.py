"""Judges a soak: one line for each promise that must have held, with the figure behind it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from miner.network.load_report import latencies
from tests.soak.record import Record

WARM_SECONDS = 10.0
"""Of each process, in which memory may still grow: caches fill, lazy imports happen."""
LEAST_SAMPLES = 20
MOST_PAIRS = 200
GROWTH_BYTES = {"daemon": 32 * 1024**2, "worker": 256 * 1024**2}
"""Allowed to a process in all: what the allocator keeps, not what leaks ..."""
GROWTH_BYTES_PER_HOUR = {"daemon": 8 * 1024**2, "worker": 32 * 1024**2}
"""... and for each hour."""
CALM_DONE_SHARE = 0.99
MIB = 1024**2


@dataclass(frozen=True)
class Check:
    """One promise: whether it held, and how it was seen."""

    name: str
    held: bool
    seen: str


@dataclass(frozen=True)
class Growth:
    """Memory of one process over its life: bytes an hour, and over the time it was watched."""

    per_hour: float
    over: float
    seconds: float


def judge(record: Record, recovery_seconds: float) -> list[Check]:
    """All checks, whether they held or not.

    Args:
        record: of the run.
        recovery_seconds: the daemon must be as usual again so long after each fault.
    """
    counts, promised = record.counts(), [one for one in record.requests if one.promised]
    lost = sum(one.result == "lost" for one in promised)
    corrupt = sum(one.result == "corrupt" and not one.spoiled for one in record.requests)
    return [
        Check("went to its end", not record.broke, record.broke[:60] or "it did"),
        Check("nothing lost", not lost, f"{len(promised)} promises, {lost} without an outcome"),
        Check(
            "nothing left over", not record.unfinished, f"{record.unfinished} jobs of the journal"
        ),
        Check("nothing corrupt", not corrupt, f"{counts['done']} splats decode, {corrupt} do not"),
        *_recoveries(record, recovery_seconds),
        _calm(record),
        _flat("daemon", growths((s.life, s.at, s.daemon_bytes) for s in record.samples)),
        _flat("worker", growths((s.worker_pid, s.at, s.worker_bytes) for s in record.samples)),
        Check("stops in order", record.exit_status == 0, f"exit status {record.exit_status}"),
        Check("no errors unforeseen", not record.tracebacks, f"{record.tracebacks} in the log"),
    ]


def _recoveries(record: Record, limit: float) -> list[Check]:
    checks = []
    for name in dict.fromkeys(fault.name for fault in record.faults):
        same = [fault for fault in record.faults if fault.name == name]
        ready = [fault.ready_seconds for fault in same]
        served = [fault.served_seconds for fault in same]
        known = [value for value in ready if value is not None]
        held = None not in served and len(known) == len(same) and max(known) <= limit
        worst = f"{max(known):.1f} s" if len(known) == len(same) else "never"
        times = f"{len(same)} times, " if len(same) > 1 else ""
        checks.append(Check(f"over it: {name}", held, f"{times}as usual after {worst}"))
    return checks


def _calm(record: Record) -> Check:
    calm = [one for one in record.requests if is_calm(record, one.at, one.seconds)]
    done = sum(one.result == "done" for one in calm)
    held = bool(calm) and done >= CALM_DONE_SHARE * len(calm)
    return Check("served while calm", held, f"{done} of {len(calm)}")


def is_calm(record: Record, at: float, seconds: float) -> bool:
    """Whether no fault was there or still felt, from a request's beginning to its end."""
    return record.during(at) is None and record.during(at + seconds) is None


def calm_latencies(record: Record) -> dict[str, float]:
    """Percentiles of what was done without a fault around."""
    return latencies(
        [
            one.seconds
            for one in record.requests
            if one.result == "done" and is_calm(record, one.at, one.seconds)
        ]
    )


def fault_latencies(record: Record, name: str) -> dict[str, float]:
    """Percentiles of what was begun during faults of a name, and done."""
    found = []
    for one in record.requests:
        fault = record.during(one.at)
        if one.result == "done" and fault is not None and fault.name == name:
            found.append(one.seconds)
    return latencies(found)


def growths(samples: Iterable[tuple[Hashable, float, int | None]]) -> list[Growth]:
    """How each process grew: the median of slopes between pairs, which spikes do not move.

    Args:
        samples: process, seconds, bytes; in order of time.
    """
    known = [one for one in samples if one[0] is not None and one[2] is not None]
    found = []
    for _, group in itertools.groupby(known, key=lambda one: one[0]):
        points = [(at, float(size or 0)) for _, at, size in group]
        points = [point for point in points if point[0] >= points[0][0] + WARM_SECONDS]
        if len(points) >= LEAST_SAMPLES:
            slope = _slope(points)
            span = points[-1][0] - points[0][0]
            found.append(Growth(slope * 3600, slope * span, span))
    return found


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's estimate, units a second; of a long series evenly chosen points."""
    step = max(1, len(points) // MOST_PAIRS)
    pairs = itertools.combinations(points[::step], 2)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


def _flat(name: str, found: Sequence[Growth]) -> Check:
    if not found:
        return Check(f"memory flat: {name}", True, "no life was long enough to tell")
    allowed = [GROWTH_BYTES[name] + GROWTH_BYTES_PER_HOUR[name] * g.seconds / 3600 for g in found]
    held = all(one.over <= limit for one, limit in zip(found, allowed, strict=True))
    worst = max(found, key=lambda one: one.over)
    seen = f"{worst.over / MIB:+.1f} MiB in {worst.seconds:.0f} s at most"
    return Check(f"memory flat: {name}", held, seen)

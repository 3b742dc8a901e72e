"""Judges a soak: one line for each promise that must have held, with the figure behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from miner.network.load_report import latencies
from tests.soak.memory import LEAST_SECONDS, MIB, Memory, Seen, grows, memory
from tests.soak.record import Record

CALM_DONE_SHARE = 0.99


@dataclass(frozen=True)
class Check:
    """One promise: whether it held, and how it was seen."""

    name: str
    held: bool
    seen: str


def judge(record: Record, recovery_seconds: float) -> list[Check]:
    """All checks, whether they held or not; for a run of minutes that has the machine to itself.

    Args:
        record: of the run.
        recovery_seconds: the daemon must be as usual again so long after each fault.
    """
    return [*judge_outcomes(record, recovery_seconds), *judge_pace(record)]


def judge_outcomes(record: Record, recovery_seconds: float = math.inf) -> list[Check]:
    """The checks that hold for a run of any length on a machine of any speed.

    Args:
        record: of the run.
        recovery_seconds: as in ``judge``; without it each fault must be overcome, however late.
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
        Check("stops in order", record.exit_status == 0, f"exit status {record.exit_status}"),
        Check("no errors unforeseen", not record.tracebacks, f"{record.tracebacks} in the log"),
    ]


def judge_pace(record: Record) -> list[Check]:
    """The checks that depend on time: a busy machine refuses more, and a leak takes minutes."""
    return [
        _calm(record),
        _flat(
            "daemon", memory(Seen(s.life, s.at, s.daemon_bytes, s.ready) for s in record.samples)
        ),
        _flat(
            "worker",
            memory(
                Seen(s.worker_pid, s.at, s.worker_bytes, s.worker_ready) for s in record.samples
            ),
        ),
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


def _flat(kind: str, found: Memory) -> Check:
    name = f"memory flat: {kind}"
    if not found.growths:
        seen = f"too short to judge: {found.longest_seconds:.0f} s of {LEAST_SECONDS:.0f} s"
        return Check(name, True, seen)
    held = not any(grows(kind, one) for one in found.growths)
    steady = max(found.growths, key=lambda one: one.steady)
    steps = max(found.growths, key=lambda one: one.steps)
    seen = (
        f"{steady.steady / MIB:+.1f} MiB in {steady.seconds:.0f} s by its slope at most,"
        f" {steps.steps / MIB:+.1f} MiB in {steps.seconds:.0f} s by steps"
    )
    return Check(name, held, seen)

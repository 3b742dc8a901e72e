"""Processor time of this process and all that it has started, by what they are. Linux only."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

TICK_SECONDS = 1.0 / os.sysconf("SC_CLK_TCK")

KINDS = (("ray_workers.bridge", "bridge"), ("ray::WorkerActor", "actors"))
"""By a part of the command line."""
OTHERS = "Ray's own"


def processor_seconds() -> Counter[str]:
    """Seconds so far of the daemon, the bridge, the actors, and what else is of Ray.

    What ended between two readings is missing in the second one.
    """
    seconds: Counter[str] = Counter()
    for pid, spent in _family():
        seconds["daemon" if pid == os.getpid() else _kind(pid)] += spent
    return seconds


def shown(before: Counter[str], after: Counter[str], jobs: int) -> str:
    """Milliseconds of a job by kind."""
    names = ("daemon", "bridge", OTHERS, "actors")
    each = {name: (after[name] - before[name]) / jobs * 1e3 for name in names}
    parts = ", ".join(f"{name} {spent:.1f}" for name, spent in each.items())
    return f"{sum(each.values()):.1f} ms of processors a job ({parts})"


def _family() -> list[tuple[int, float]]:
    """This process and its descendants, with their seconds."""
    children: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            parent, spent = _stat(pid)
            children[parent].append((pid, spent))
    own = os.getpid()
    found = [(own, _stat(own)[1])]
    for pid, _ in found:
        found += children[pid]
    return found


def _stat(pid: int) -> tuple[int, float]:
    """Parent and seconds of a process; of no parent where it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0, 0.0
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) * TICK_SECONDS


def _kind(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return OTHERS
    return next((kind for part, kind in KINDS if part in command), OTHERS)

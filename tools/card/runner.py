"""Runs the parts in their order, within a time, and keeps what each found as soon as it ends."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch

from miner.version import VERSION
from tools.card.bench import GIB, ROOT, Bench
from tools.card.order import Part
from tools.card.outcome import Outcome, OutOfTime, Report, Unmeasured
from tools.card.parts.machine import LIBRARIES

FORMAT = 1
"""Of ``card.json``."""


def run_parts(
    parts: Sequence[Part],
    bench: Bench,
    report: Report,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Whether the command ran to its end; False where it was interrupted.

    Args:
        parts: in the order in which they run.
        bench: that they measure with.
        report: takes the outcome of each, and is written after it.
        clock: seconds, of which ``bench.deadline`` is one moment.
    """
    for part in parts:
        outcome = Outcome(part.name, part.title)
        report.outcomes.append(outcome)
        left = bench.deadline - clock()
        if left < (0 if bench.tiny else part.seconds):
            outcome.status = "skipped"
            outcome.reason = f"about {part.seconds:.0f} s, {max(0.0, left):.0f} s are left"
            print(f"{part.name}: skipped: {outcome.reason}", flush=True)
            report.write()
            continue
        print(f"{part.name}: {part.title}", flush=True)
        began = clock()
        try:
            _run(part, bench, outcome, left)
        except KeyboardInterrupt:
            outcome.status, outcome.reason = "skipped", "interrupted"
            return False
        finally:
            outcome.seconds = clock() - began
            report.write()
    return True


def _run(part: Part, bench: Bench, outcome: Outcome, left: float) -> None:
    try:
        with _alarm(left):
            bench.tidy()
            part.run(bench, outcome)
    except Unmeasured as why:
        outcome.status, outcome.reason = "unmeasured", str(why)
        print(f"    unmeasured: {why}", flush=True)
    except OutOfTime:
        outcome.status, outcome.reason = "skipped", "the time of the command was used up"
        print(f"    skipped: {outcome.reason}", flush=True)
    except Exception as error:  # a failure of one part is what is asked for
        outcome.fail("", error)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Ends the block by ``OutOfTime`` after so many seconds."""

    def ring(_signal: int, _frame: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def head(bench: Bench, command: str) -> dict[str, Any]:
    """What ``card.json`` says before its parts: the card, versions, command and commit."""
    card = bench.device.card()
    return {
        "format": FORMAT,
        "tiny": bench.tiny,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "card": bench.device.name,
        "capability": list(card.capability) if card.capability else None,
        "memory_gib": round(card.total_bytes / GIB, 2),
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "miner": VERSION,
        "commit": _output("git", "rev-parse", "HEAD"),
        "changed": bool(_output("git", "status", "--porcelain", "--untracked-files=no")),
        "command": command,
    }


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(program: str, *arguments: str) -> str | None:
    """The first line that a program prints; None where it is not there or fails."""
    found = shutil.which(program)
    if found is None:
        return None
    done = subprocess.run(  # noqa: S603 - a program of the system with fixed arguments
        [found, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None

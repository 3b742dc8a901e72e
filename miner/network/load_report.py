"""Answers as a table for a person and as figures for a program; nothing is printed here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from miner.network.load import Answer

TITLE_CELLS = 36
HOTKEY_CHARACTERS = 8
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
MAX_MESSAGES = 10
"""Of different failures in a report; the most frequent ones."""


def table(answers: Sequence[Answer]) -> list[str]:
    """The answers as lines of text with a heading; what went wrong stands at the line's end."""
    width = max([len("prompt"), *(cell_len(_one_line(answer.title)) for answer in answers)])
    width = min(width, TITLE_CELLS)
    heading = f"{'prompt':<{width}}  {'validator':<10}{'status':>6}{'seconds':>9}"
    lines = [f"{heading}{'Gaussians':>12}{'bytes':>13}"]
    for answer in answers:
        gaussians = f"{answer.gaussians:,}" if answer.gaussians is not None else "-"
        size = f"{answer.size_bytes:,}" if answer.ok else "-"
        line = (
            f"{set_cell_size(_one_line(answer.title), width)}"
            f"  {answer.validator[:HOTKEY_CHARACTERS]:<10}{answer.status:>6}"
            f"{answer.seconds:>9.2f}{gaussians:>12}{size:>13}"
        )
        lines.append(line if answer.ok else f"{line}  {_one_line(answer.message)}")
    return lines


def report(answers: Sequence[Answer], wall_seconds: float) -> dict[str, Any]:
    """Figures of a run, ready for JSON.

    The latencies are those of the successes: a refusal is quick and says nothing about the work.

    Args:
        answers: all of them.
        wall_seconds: from the first request to the last answer.
    """
    good = [answer for answer in answers if answer.ok]
    messages = Counter(_one_line(answer.message) for answer in answers if not answer.ok)
    return {
        "requests": len(answers),
        "ok": len(good),
        "seconds": wall_seconds,
        "per_second": len(answers) / wall_seconds if wall_seconds > 0 else None,
        "statuses": {str(k): n for k, n in sorted(Counter(a.status for a in answers).items())},
        "latency_seconds": latencies([answer.seconds for answer in good]),
        "gaussians": sum(answer.gaussians or 0 for answer in good),
        "bytes": sum(answer.size_bytes for answer in good),
        "messages": dict(messages.most_common(MAX_MESSAGES)),
    }


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles by nearest rank, with the least and the most; empty for no values."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    ranks = {
        name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in PERCENTILES.items()
    }
    return {"min": ordered[0], **ranks, "max": ordered[-1]}


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)

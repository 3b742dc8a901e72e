"""A ledger as tables for a person and as figures for a program; nothing is printed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from miner.validator.accounts import TaskRecord
from miner.validator.ledger import Ledger
from miner.validator.rules import Verdict

TITLE_CELLS = 36
SHORT = 8
"""Characters of hotkeys and task ids in tables."""


def report(ledger: Ledger) -> dict[str, Any]:
    """Figures of the whole ledger, ready for JSON.

    ``open`` tasks are still assigned; ``ended_twice`` counts tasks for which two submissions had an
    effect; ``early_pulls`` are those during cooldowns.
    """
    records, miners = list(ledger.state.records.values()), ledger.state.miners
    verdicts = Counter(str(record.verdict) for record in records if record.verdict is not None)
    return {
        "tasks": len(records),
        "open": sum(record.verdict is None for record in records),
        "verdicts": dict(sorted(verdicts.items())),
        "ended_twice": sum(record.endings > 1 for record in records),
        "early_pulls": sum(account.early_pulls for account in miners.values()),
        "by_miner": {
            hotkey: account.model_dump(exclude={"task", "observations", "verdicts"})
            | {"verdicts": {str(verdict): n for verdict, n in account.verdicts.items()}}
            for hotkey, account in miners.items()
        },
        "by_task": [record.model_dump(mode="json") for record in records],
    }


def summary(ledger: Ledger) -> str:
    """The whole ledger in one line."""
    figures = report(ledger)
    accepted = figures["verdicts"].get(str(Verdict.ACCEPTED), 0)
    others = "".join(
        f", {count} {verdict}"
        for verdict, count in figures["verdicts"].items()
        if verdict != Verdict.ACCEPTED
    )
    return (
        f"{figures['tasks']} tasks: {accepted} accepted{others}, {figures['open']} open,"
        f" {figures['ended_twice']} ended twice; {figures['early_pulls']} early pulls"
    )


def task_table(records: Sequence[TaskRecord]) -> list[str]:
    """The tasks as lines of text with a heading."""
    width = max([len("prompt"), *(cell_len(_one_line(record.title)) for record in records)])
    width = min(width, TITLE_CELLS)
    lines = [
        f"{'task':<{SHORT}}  {'prompt':<{width}}  {'miner':<{SHORT}}{'pulls':>7}{'results':>9}"
        f"{'seconds':>9}{'score':>7}  verdict"
    ]
    for record in records:
        ended = record.ended_at
        seconds = f"{ended - record.assigned_at:.1f}" if ended is not None else "-"
        score = f"{record.score:.2f}" if record.score is not None else "-"
        lines.append(
            f"{record.id[:SHORT]:<{SHORT}}  {set_cell_size(_one_line(record.title), width)}"
            f"  {record.hotkey[:SHORT]:<{SHORT}}{record.pulls:>7}{record.submissions:>9}"
            f"{seconds:>9}{score:>7}  {record.verdict or 'open'}"
        )
    return lines


def miner_table(ledger: Ledger) -> list[str]:
    """The miners as lines of text with a heading."""
    lines = [
        f"{'miner':<{SHORT}}{'uid':>6}{'accepted':>10}{'rejected':>10}{'empty':>7}"
        f"{'ignored':>9}{'early':>7}{'average':>9}{'in window':>11}"
    ]
    for hotkey, account in ledger.state.miners.items():
        counts = account.verdicts
        ignored = sum(count for verdict, count in counts.items() if not verdict.final)
        lines.append(
            f"{hotkey[:SHORT]:<{SHORT}}{account.uid:>6}{counts[Verdict.ACCEPTED]:>10}"
            f"{counts[Verdict.REJECTED]:>10}{counts[Verdict.EMPTY]:>7}{ignored:>9}"
            f"{account.early_pulls:>7}{account.average:>9.3f}{len(account.observations):>11}"
        )
    return lines


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)

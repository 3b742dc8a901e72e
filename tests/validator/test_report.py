"""The ledger as tables and figures."""

from __future__ import annotations

import json

from miner.network.subnet import ImageTask, TextTask
from miner.validator.ledger import Submitted
from miner.validator.report import miner_table, report, summary, task_table
from tests.validator.rig import Books

TASKS = [
    TextTask(id="task-0", prompt="a red\ncube"),
    ImageTask(id="task-1", prompt="QUJD"),
    TextTask(id="task-2", prompt="立方体" * 30),
]


def books() -> Books:
    """One task accepted, one rejected, one open, and one early pull."""
    found = Books(tasks=TASKS.__getitem__)
    for score in (0.9, 0.2):
        task = found.ledger.pull("alice").task
        assert task is not None
        found.ledger.receive("alice", task.id, empty=False, signed=lambda _: True)
        submitted = found.ledger.conclude("alice", task, score)
        assert isinstance(submitted, Submitted)
        found.ledger.pull("alice")
        found.clock.now = float(submitted.cooldown_until)
    found.ledger.pull("alice")
    return found


def test_figures_are_ready_for_json() -> None:
    """Counts of what was asked, and every task and miner with its story."""
    figures = json.loads(json.dumps(report(books().ledger)))

    assert (figures["tasks"], figures["open"], figures["ended_twice"]) == (3, 1, 0)
    assert figures["verdicts"] == {"accepted": 1, "rejected": 1}
    assert figures["early_pulls"] == 2
    assert figures["by_miner"]["alice"]["verdicts"] == {"accepted": 1, "rejected": 1}
    assert [task["verdict"] for task in figures["by_task"]] == ["accepted", "rejected", None]


def test_the_summary_says_it_in_one_line() -> None:
    """What was asked, what came of it, and what must not be."""
    assert summary(books().ledger) == (
        "3 tasks: 1 accepted, 1 rejected, 1 open, 0 ended twice; 2 early pulls"
    )


def test_tables_have_a_line_for_each() -> None:
    """One line, whatever is in a prompt; pictures are named so."""
    found = books().ledger
    tasks, miners = task_table([*found.state.records.values()]), miner_table(found)

    assert len(tasks) == 4
    assert all("\n" not in line for line in tasks)
    assert "(picture)" in tasks[2]
    assert [line.rsplit(maxsplit=1)[1] for line in tasks[1:]] == ["accepted", "rejected", "open"]
    assert miners[1].split()[:4] == ["alice", "1", "1", "1"]


def test_an_empty_ledger_has_tables_too() -> None:
    """Headings alone."""
    found = Books().ledger

    assert len(task_table([])) == len(miner_table(found)) == 1
    assert summary(found).startswith("0 tasks: 0 accepted, 0 open")

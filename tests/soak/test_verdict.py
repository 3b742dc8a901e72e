"""The verdict and the page: what did not hold is said, and the page is whole."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.soak.page import page
from tests.soak.record import Fault, Record, Request, Sample
from tests.soak.verdict import judge, judge_outcomes

MIB = 1024**2
FINE = Request("task", False, True, 1.0, 0.5, "done", "triposr")


def a_record(**changes: object) -> Record:
    """A run in which everything held."""
    record = Record(rate=0.5, seconds=100.0, settled=101.0, exit_status=0)
    record.requests = [replace(FINE, at=float(at)) for at in range(0, 100, 2)]
    record.samples = [
        Sample(at / 2, 1, True, "triposr", 1, 1, 100 * MIB, 800 * MIB, 77, True)
        for at in range(300)
    ]
    record.faults = [Fault("worker killed", 20.0, 20.1, 4.0, 5.0)]
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def failed(record: Record) -> list[str]:
    return [check.name for check in judge(record, 60.0) if not check.held]


def test_a_run_in_which_all_held_is_good() -> None:
    """No check fails without a reason."""
    assert failed(a_record()) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"requests": [FINE, replace(FINE, result="lost")]}, "nothing lost"),
        ({"requests": [FINE, replace(FINE, result="corrupt")]}, "nothing corrupt"),
        ({"requests": [FINE, replace(FINE, result="refused")]}, "served while calm"),
        ({"unfinished": 1}, "nothing left over"),
        ({"exit_status": -9}, "stops in order"),
        ({"broke": "the daemon does not start"}, "went to its end"),
        ({"tracebacks": 1}, "no errors unforeseen"),
        ({"faults": [Fault("x", 1.0, 2.0, 61.0, 62.0)]}, "over it: x"),
        ({"faults": [Fault("x", 1.0, 2.0, None, None)]}, "over it: x"),
        ({"faults": [Fault("x", 1.0, 2.0, 1.0, None)]}, "over it: x"),
    ],
)
def test_what_did_not_hold_is_said(changes: dict[str, object], name: str) -> None:
    """Each promise that is broken has its own line."""
    assert name in failed(a_record(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": [FINE, replace(FINE, result="refused")]},
        {"faults": [Fault("x", 1.0, 2.0, 9000.0, 9000.0)]},
        {
            "samples": [
                replace(one, daemon_bytes=n * MIB) for n, one in enumerate(a_record().samples)
            ]
        },
    ],
)
def test_outcomes_do_not_depend_on_the_machine(changes: dict[str, object]) -> None:
    """A refusal, a late recovery or growth fails the whole judgement and not that of outcomes."""
    record = a_record(**changes)

    assert failed(record)
    assert [check.name for check in judge_outcomes(record) if not check.held] == []


def test_a_fault_that_is_never_overcome_is_an_outcome() -> None:
    """Without a limit in seconds the daemon must still be as usual again."""
    record = a_record(faults=[Fault("x", 1.0, 2.0, None, None)])

    assert [one.name for one in judge_outcomes(record) if not one.held] == ["over it: x"]


def test_growth_of_either_process_has_its_line() -> None:
    """A growing daemon is not taken for a growing worker, or the other way round."""
    samples = a_record().samples
    daemon = [replace(one, daemon_bytes=100 * MIB + int(one.at * MIB)) for one in samples]
    worker = [replace(one, worker_bytes=800 * MIB + int(one.at * MIB)) for one in samples]

    assert failed(a_record(samples=daemon)) == ["memory flat: daemon"]
    assert failed(a_record(samples=worker)) == ["memory flat: worker"]


def test_a_short_run_is_not_judged_by_its_memory() -> None:
    """It is said, with the seconds there were, and is no failure."""
    short = [
        replace(one, worker_bytes=one.worker_bytes + int(one.at * MIB * 16))
        for one in a_record().samples[:60]
    ]
    (said,) = [one for one in judge(a_record(samples=short), 60.0) if one.name.endswith(": worker")]

    assert said.held
    assert said.seen == "too short to judge: 20 s of 100 s"


def test_the_page_is_well_formed_and_needs_nothing() -> None:
    """Its plots are SVG that parses, text of others is escaped, and nothing is fetched."""
    record = a_record()
    record.requests.append(replace(FINE, result="refused", note="503 <script>x</script>"))
    record.faults.append(Fault("never over", 80.0, 81.0))
    text = page(record, judge(record, 60.0))

    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(svgs) == 6
    for svg in svgs:
        ElementTree.fromstring(svg)
    assert "<script" not in text and "src=" not in text and "http" not in text
    assert "never over" in text and "something did not hold" in text


def test_a_page_of_nothing_is_a_page() -> None:
    """A run that ended at once can be looked at."""
    record = Record(rate=1.0)

    assert "Soak" in page(record, judge(record, 60.0))

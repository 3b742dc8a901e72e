"""What ``miner demo --break`` holds against each other, without a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.commands.console import Reporter
from miner.commands.demo_break import Story, compare, demo_break
from miner.errors import BadOption
from miner.network.load import Answer

ANSWERS = [
    (10.0, Answer("a red cube", "v", 200, generator="triposr")),
    (20.0, Answer("a blue car", "v", 200, generator="dreamgaussian")),
]
CHANGE = {"at": 15.0, "state": "open", "cause": "exception", "generator": "dreamgaussian"}
COUNTED = {
    'miner_jobs_finished_total{code="ok",identity="main",intake="generate3d"}': 2.0,
    'miner_asset_gaussians_count{generator="triposr"}': 1.0,
    'miner_asset_gaussians_count{generator="dreamgaussian"}': 1.0,
    'miner_rollback_changes_total{cause="exception",state="open"}': 1.0,
    'miner_generator_active{generator="triposr"}': 1.0,
}


def test_a_true_story_has_no_differences() -> None:
    """Answers, decisions and metrics that tell the same are let pass."""
    assert list(compare(Story(ANSWERS, [], [CHANGE]), COUNTED)) == []


@pytest.mark.parametrize("series", list(COUNTED))
def test_every_count_is_held_against_the_story(series: str) -> None:
    """One series that is off is named, and so is one that the story does not have."""
    off = {**COUNTED, series: 0.0}
    more = {
        **COUNTED,
        'miner_jobs_finished_total{code="stage",identity="main",intake="generate3d"}': 1.0,
    }
    story = Story(ANSWERS, [], [CHANGE])

    assert len(list(compare(story, off))) == 1
    assert ["stage" in line for line in compare(story, more)] == [True]


def test_the_timeline_is_in_order() -> None:
    """Requests, what was done and what was decided are one list by time."""
    lines = list(Story(ANSWERS, [(12.0, "it is broken")], [CHANGE]).lines())

    assert [line.split(" s ")[0].strip() for line in lines] == ["0.0", "2.0", "5.0", "10.0"]
    assert "breaker open (exception): new jobs go to dreamgaussian" in lines[2]


def test_only_the_primary_can_be_broken(tmp_path: Path) -> None:
    """Another name is refused before anything starts."""
    with pytest.raises(BadOption, match="triposr"):
        demo_break("flux", tmp_path, Reporter())

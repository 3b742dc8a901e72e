"""``miner validators`` against a control socket: a table, JSON, or a line on why there is none."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from miner.commands.validators import table, validators
from miner.errors import ControlError
from miner.network.control import serve_control
from miner.network.puller.book import Entry
from miner.network.puller.clocks import Moment
from miner.network.puller.cooldowns import Cooldown
from miner.network.puller.report import line
from miner.network.subnet import Feedback
from tests.network.operator_fakes import FakeDaemon, FakeView

NOW = Moment(1000.0, 1_900_000_000.0, "one")


def a_line(**changes: Any) -> dict[str, Any]:
    """As the puller reports it, of a validator that has left."""
    entry = Entry(cooldown=Cooldown.kept(271.4, NOW), tasks=12, accepted=10, rejected=1)
    entry.feedback = Feedback(average_fidelity_score=0.87, current_duel_rating=1512.0)
    return line("5HotkeyOfAValidator", entry.model_copy(update=changes), None, None, NOW)


@pytest_asyncio.fixture
async def view() -> AsyncIterator[FakeView]:
    yield FakeView()


@pytest_asyncio.fixture
async def folder(view: FakeView) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        async with serve_control(Path(name), view, FakeDaemon(view)):
            yield Path(name)


async def test_it_is_a_table(
    folder: Path, view: FakeView, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each under a heading, all of one width."""
    view.asked = [a_line(), a_line()]
    await asyncio.to_thread(validators, folder)
    heading, first, second = capsys.readouterr().out.splitlines()

    assert first == second
    assert len(heading) == len(first)
    assert "271 s" in first
    assert "0.870" in first


def test_each_line_says_whose_validator_it_is() -> None:
    """Where several identities ask, its name stands first; where one does, nothing is added."""
    mine, other = {"identity": "main", **a_line()}, {"identity": "northern", **a_line()}
    heading, first, second = table([mine, other])

    assert [row.split()[0] for row in (heading, first, second)] == ["identity", "main", "northern"]
    assert len(heading) == len(first) == len(second)
    assert table([mine, mine]) == table([a_line(), a_line()])


async def test_json_is_the_whole_answer(
    folder: Path, view: FakeView, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json gives programs everything."""
    view.asked = [a_line()]
    await asyncio.to_thread(validators, folder, None, True)

    assert json.loads(capsys.readouterr().out) == {"validators": view.asked}


async def test_a_daemon_that_does_not_pull_says_so(folder: Path) -> None:
    """In one line, and an exit status."""
    with pytest.raises(ControlError, match="no validator is asked"):
        await asyncio.to_thread(validators, folder)


def test_what_a_validator_says_cannot_move_the_cursor() -> None:
    """Its words are shown as plain text, and not many of them."""
    row = table([a_line(last_error="500 \x1b[2J\nforged " + "x" * 500)])[1]

    assert row.isprintable()
    assert "500" in row
    assert len(row) < 220


def test_nobody_to_ask_is_a_sentence() -> None:
    """And no empty table."""
    assert table([]) == ["no validator that serves has stake enough to be asked"]

"""``miner validators``: whom the running daemon asks for tasks, and how it stands with each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from miner.commands.console import result
from miner.network.control_client import ask
from miner.settings import load

HOTKEY_CHARACTERS = 12
MAX_ERROR_CHARACTERS = 60

COLUMNS: tuple[tuple[str, int], ...] = (
    ("uid", 6),
    ("stake", 12),
    ("state", 12),
    ("cooldown", 9),
    ("tasks", 7),
    ("ok", 7),
    ("low", 6),
    ("empty", 6),
    ("unknown", 8),
    ("average", 9),
    ("rating", 8),
    ("reward", 9),
    ("failed", 7),
)
"""Headings behind the hotkey, and their widths."""


def validators(
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="The daemon's; else that of the settings."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="See config/miner.toml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer, as JSON.")] = False,
) -> None:
    """Show the validators that are asked for tasks: cooldowns, tasks, scores and failures."""
    folder = state_dir or load(config=config_file).settings.daemon.state_dir
    answer = ask(folder, "GET", "validators")
    if as_json:
        result(json.dumps(answer, indent=2))
        return
    for line in table(answer.get("validators", [])):
        result(line)


def table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The validators as lines of text under a heading; what last failed stands at the line's end.

    "ok" are results accepted, "low" those whose score was under the threshold, "empty" tasks given
    back, "unknown" those that the validator did not know any more or answered without judging them;
    "failed" are failures in a row. Where several of our identities ask, each line begins with whose
    it is.
    """
    if not lines:
        return ["no validator that serves has stake enough to be asked"]
    heading = "".join(f"{name:>{width}}" for name, width in COLUMNS)
    rows = [f"{'validator':<{HOTKEY_CHARACTERS}}{heading}", *map(_row, lines)]
    whose = ["identity", *(str(line.get("identity", "")) for line in lines)]
    if len(set(whose[1:])) == 1:
        return rows
    width = max(map(len, whose))
    return [f"{name:<{width}}  {row}" for name, row in zip(whose, rows, strict=True)]


def _row(line: Mapping[str, Any]) -> str:
    values = (
        _number(line.get("uid"), "d"),
        _number(line.get("stake"), ",.0f"),
        str(line.get("state", "")),
        _seconds(line.get("cooldown_seconds")),
        *(_number(line.get(key), ",d") for key in ("tasks", "accepted", "rejected")),
        *(_number(line.get(key), ",d") for key in ("skipped", "unknown")),
        _number(line.get("average_score"), ".3f"),
        _number(line.get("rating"), ",.0f"),
        _number(line.get("reward"), ",.0f"),
        _number(line.get("failures"), ",d"),
    )
    cells = "".join(f"{value:>{width}}" for value, (_, width) in zip(values, COLUMNS, strict=True))
    row = f"{str(line.get('hotkey', ''))[:HOTKEY_CHARACTERS]:<{HOTKEY_CHARACTERS}}{cells}"
    error = line.get("last_error")
    return f"{row}  {_one_line(str(error))}" if error else row


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _seconds(value: float | None) -> str:
    return f"{value:.0f} s" if value else "-"


def _one_line(text: str) -> str:
    """Without what could move the cursor: it came from a validator."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain[:MAX_ERROR_CHARACTERS]

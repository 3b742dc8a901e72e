"""Of a frame of ``miner top``: who we are, where we are several, and whom we work for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from miner.commands.identity_table import (
    HEADINGS,
    NUMBERS,
    SHORTER,
    SHORTEST,
    rows,
    several,
    short,
)
from miner.commands.top_pieces import (
    BAD,
    DIM,
    GOOD,
    MEDIUM_COLUMNS,
    NAME_CELLS,
    WARN,
    WIDE_COLUMNS,
    panel,
    table,
)
from miner.commands.top_words import duration, plain

MAX_VALIDATORS, MAX_IDENTITIES = 6, 8


def identities(ours: Sequence[Mapping[str, Any]], columns: int) -> RenderableType:
    """One line for each; those in trouble first where not all have room."""
    shown = sorted(ours, key=lambda one: bool(one.get("ready")))[:MAX_IDENTITIES]
    listed = [one for one in ours if one in shown]
    cells = rows(listed)
    wanted = _headings(columns)
    names = [name for name in cells[0] if name in wanted]
    found = table()
    for name in names:
        last = name == HEADINGS[-1]
        found.add_column(
            name,
            justify="right" if name in NUMBERS else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if last else None,
            min_width=8 if last else None,
        )
    for one, row in zip(listed, cells, strict=True):
        style = GOOD if one.get("ready") else BAD
        *others, state = (row[name] for name in names)
        found.add_row(*others, Text(state, style=style))
    ready = sum(bool(one.get("ready")) for one in ours)
    more = f", {len(ours) - len(listed)} not shown" if len(ours) > len(listed) else ""
    return panel(f"identities: {ready} of {len(ours)} ready{more}", found)


def _headings(columns: int) -> Sequence[str]:
    if columns >= WIDE_COLUMNS:
        return HEADINGS
    return SHORTER if columns >= MEDIUM_COLUMNS else SHORTEST


def identities_lines(ours: Sequence[Mapping[str, Any]]) -> int:
    """How high that panel is."""
    return min(len(ours), MAX_IDENTITIES) + 3 if ours else 0


def headline(ours: Sequence[Mapping[str, Any]]) -> Text:
    """How many of several take work."""
    ready = sum(bool(one.get("ready")) for one in ours)
    style = "" if ready == len(ours) else WARN
    return Text(f"  {ready} of {len(ours)} identities", style=style)


def validators(answer: Mapping[str, Any], columns: int) -> RenderableType:
    """Those that are asked for tasks, or else those of the subnet."""
    asked, status = answer.get("asked") or [], answer["status"]
    ours = several(status)
    found = table()
    if asked:
        names = _headings_of_asked(columns, bool(ours))
        for name in names:
            most = NAME_CELLS if name == "identity" else None
            left = name in ("identity", "validator", "state")
            found.add_column(
                name, justify="left" if left else "right", max_width=most, no_wrap=True
            )
        for line in _some(asked):
            cells = _asked(line)
            found.add_row(*(cells[name] for name in names))
    else:
        found.add_column("validator")
        found.add_column("uid", justify="right")
        found.add_column("stake", justify="right")
        for peer in (answer.get("peers") or [])[:MAX_VALIDATORS]:
            found.add_row(short(peer["hotkey"]), str(peer["uid"]), f"{peer['stake'] or 0:,.0f}")
    title = "validators" if ours else _title(status.get("peers"))
    return panel(title, found if found.row_count else Text("none yet", style=DIM))


def _title(peers: Mapping[str, Any] | None) -> str:
    if peers is None:
        return "validators"
    age = peers.get("age_seconds")
    read = f", read {duration(age)} ago" if age else ""
    return f"validators: {peers.get('count')} hotkeys known{read}"


def _some(asked: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As many as have room, equally many of each identity that asks."""
    groups = [list(lines) for _, lines in groupby(asked, key=lambda line: line.get("identity"))]
    each = max(1, MAX_VALIDATORS // len(groups))
    return [line for lines in groups for line in lines[:each]][:MAX_VALIDATORS]


def _headings_of_asked(columns: int, whose: bool) -> list[str]:
    ours = ["identity"] if whose else []
    if columns >= MEDIUM_COLUMNS:
        return [*ours, "validator", "stake", "state", "tasks", "ok", "average"]
    return [*ours, "validator", "state", "tasks", "ok", *([] if whose else ["average"])]


def _asked(line: Mapping[str, Any]) -> dict[str, RenderableType]:
    """All that may be shown of a validator that is asked, by the headings."""
    cooldown, average = line.get("cooldown_seconds"), line.get("average_score")
    state, failures = plain(line.get("state")), line.get("failures") or 0
    state += f" {cooldown:.0f} s" if cooldown else ""
    state += f", {failures} failed" if failures else ""
    return {
        "identity": plain(line.get("identity")),
        "validator": short(line.get("hotkey")),
        "stake": f"{line.get('stake') or 0:,.0f}",
        "state": Text(state, style=BAD if failures else ""),
        "tasks": str(line.get("tasks") or 0),
        "ok": str(line.get("accepted") or 0),
        "average": "-" if average is None else f"{average:.3f}",
    }

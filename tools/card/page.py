"""The tables of ``docs/card.md``: a row for each figure, a column for each card.

They are made from the files in ``docs/cards``, one for each card; what no file holds is
"unmeasured".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miner.errors import ConfigError
from tools.card.bench import ROOT
from tools.card.outcome import Value, shown

PAGE = ROOT / "docs" / "card.md"
FOLDER = ROOT / "docs" / "cards"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
"""Around what is made; the rest of the page is written by hand."""

CARDS = ("RTX 3060", "RTX 4060", "RTX 3090", "RTX 4090", "H200")
"""Columns that are there without a file; a file of another card has a column behind them."""
NOT_THERE = "unmeasured"


@dataclass(frozen=True)
class Row:
    """A figure of the page: its part and name in ``card.json``, and what it should be."""

    part: str
    name: str
    unit: str
    target: str = ""


ROWS = (
    Row("machine", "total", "GiB"),
    Row("machine", "free", "GiB"),
    Row("machine", "context", "GiB"),
    Row("small", "codes, no TF32", "deviations", "0.0001"),
    Row("small", "codes, TF32 in both", "deviations"),
    Row("plans", "this card, text_encoders", "GB", "planned, 10 %"),
    Row("plans", "this card, transformer", "GB", "planned, 10 %"),
    Row("plans", "this card, vae", "GB", "planned, 10 %"),
    Row("plans", "this card, at rest", "GB", "planned, 10 %"),
    Row("plans", "this card, peak", "GiB", "the plan's limit"),
    Row("plans", "24 GB, peak", "GiB", "20"),
    Row("plans", "16 GB, peak", "GiB", "the plan's limit"),
    Row("plans", "12 GB, peak", "GiB", "the plan's limit"),
    Row("plans", "8 GB, peak", "GiB", "the plan's limit"),
    Row("triposr", "fp32", "s", "0.10 on an H200"),
    Row("triposr", "TF32", "s", "0.10 on an H200"),
    Row("triposr", "TF32, error", "deviations"),
    Row("triposr", "bf16", "s", "0.10 on an H200"),
    Row("triposr", "bf16, error", "deviations"),
    Row("triposr", "surface", "s", "0.15 on an H200"),
    Row("flux", "bf16, 3 steps", "s", "0.25 on an H200"),
    Row("flux", "bf16, 3 steps, compiled", "s", "0.25 on an H200"),
    Row("flux", "bf16, compiling", "s"),
    Row("flux", "activations of transformer", "GB", "planned"),
    Row("flux", "activations of vae", "GB", "planned"),
    Row("flux", "a step and the VAE", "s"),
    Row("flux", "a step and the VAE, channels last", "s"),
    Row("flux", "bf16, a step", "s"),
    Row("flux", "int8, a step", "s"),
    Row("flux", "fp8, a step", "s"),
    Row("flux", "nf4, a step", "s"),
    Row("flux", "int8, 3 steps, compiled", "s"),
    Row("whole", "prompt to SPZ", "s", "0.6 on an H200"),
    Row("whole", "prompt to SPZ, compiled", "s", "0.6 on an H200"),
    Row("whole", "prompt to SPZ without matting", "s"),
    Row("matting", "runs on", ""),
    Row("matting", "later pictures, best", "s"),
    Row("matting", "on the card after 10", "GiB", "0.3"),
    Row("streaming", "streamed, pinned, a step", "s"),
    Row("streaming", "streamed, not pinned, a step", "s"),
    Row("streaming", "host, to bring text_encoders", "s"),
    Row("streaming", "host, to bring transformer", "s"),
    Row("gsplat", "plain torch, a view", "ms"),
    Row("gsplat", "gsplat, a view", "ms"),
    Row("overlap", "overlap off", "jobs/hour"),
    Row("overlap", "overlap on", "jobs/hour"),
    Row("loading", "int8, speed", "GB/s"),
)


def add(files: Sequence[Path]) -> None:
    """Takes files that the command wrote into ``docs/cards``, each under its card's name.

    Raises:
        ConfigError: a file is not from a card, or cannot be read.
    """
    for file in files:
        found = read(file)
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(found, indent=1) + "\n"
        (FOLDER / f"{_slug(found['card'])}.json").write_text(text, encoding="utf-8")


def read(file: Path) -> dict[str, Any]:
    """A ``card.json``.

    Raises:
        ConfigError: it cannot be read, or its figures are those of a CPU.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        card, capability, tiny = found["card"], found["capability"], found["tiny"]
        figures = [part["figures"] for part in found["parts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: is no card.json: {error}") from error
    if tiny or capability is None or not figures or not isinstance(card, str):
        raise ConfigError(f"{file}: its figures are not those of a card")
    return dict(found)


def write() -> None:
    """Makes the tables of the page anew."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), files()), encoding="utf-8")


def files() -> list[dict[str, Any]]:
    """What is in ``docs/cards``, by the file's name."""
    return [read(file) for file in sorted(FOLDER.glob("*.json"))]


def with_tables(page: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The page, what is between its marks made from these files.

    Raises:
        ConfigError: the page has no such marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ConfigError(f"the page has no lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + "".join(_tables(found)) + end + after


def _tables(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    columns = _columns(found)
    yield "\n| part | figure | unit | target | " + " | ".join(columns) + " |\n"
    yield "|---" * (4 + len(columns)) + "|\n"
    for row in ROWS:
        cells = [_cell(row, one) for one in columns.values()]
        told = [row.part, row.name, row.unit, row.target, *cells]
        yield "| " + " | ".join(told) + " |\n"
    yield "\n| card | when | driver | torch | command | commit |\n|---|---|---|---|---|---|\n"
    for name, one in columns.items():
        cells = [NOT_THERE] * 5 if one is None else _origin(one)
        yield "| " + " | ".join([name, *cells]) + " |\n"
    yield "\n"


def _columns(found: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any] | None]:
    """By card: its file, where there is one."""
    columns: dict[str, Mapping[str, Any] | None] = dict.fromkeys(CARDS)
    for one in found:
        known = [name for name in CARDS if re.search(rf"\b{name}(?! ?(?:Ti|Super))\b", one["card"])]
        columns[known[0] if known else one["card"]] = one
    return columns


def _cell(row: Row, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NOT_THERE
    for part in found["parts"]:
        for figure in part["figures"]:
            if part["part"] == row.part and figure["name"] == row.name:
                return _with_plan(figure["value"], figure["planned"])
    return NOT_THERE


def _with_plan(value: Value, planned: float | None) -> str:
    return shown(value) if planned is None else f"{shown(value)} (planned {shown(planned)})"


def _origin(found: Mapping[str, Any]) -> list[str]:
    commit = (found["commit"] or "none")[:12] + (" with changes" if found["changed"] else "")
    driver, torch = found["driver"] or "unknown", found["versions"]["torch"] or "unknown"
    return [found["when"], driver, torch, f"`{found['command']}`", commit]


def _slug(card: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")

"""The committed boards as the tests read them: panels, queries, variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config" / "grafana" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))

WINDOW = "15s"
"""In place of Grafana's rate interval: fifteen scrapes of the tests' Prometheus."""


def load(path: Path) -> dict[str, Any]:
    """One board."""
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something, without the headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Title of the panel and expression, also of variables and annotations."""
    for panel in panels(board):
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for note in board["annotations"]["list"]:
        yield f"annotation {note['name']}", note["target"]["expr"]


def filled(expr: str, instance: str = ".*") -> str:
    """The expression as Prometheus can compute it.

    Args:
        expr: with Grafana's variables.
        instance: a pattern of the instances wanted.
    """
    expr = expr.replace("$__rate_interval", WINDOW).replace("$instance", instance)
    expr = expr.replace("$gpu", ".*").replace("$identity", ".*")
    assert "$" not in expr, expr
    return expr


def metrics(expr: str) -> set[str]:
    """Names of our metrics in an expression, recorded ones too."""
    return set(re.findall(r"\b[a-z_]*:?(?:miner|process)_[a-z_]+(?::[a-z0-9_]+)?", expr))

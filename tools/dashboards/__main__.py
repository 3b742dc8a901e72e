"""Writes every board to config/grafana/dashboards; with ``--check`` only says which are behind."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.dashboards.board import render
from tools.dashboards.host import HOST
from tools.dashboards.network import NETWORK
from tools.dashboards.overview import OVERVIEW
from tools.dashboards.pipeline import PIPELINE
from tools.dashboards.rollback import ROLLBACK

FOLDER = Path(__file__).parents[2] / "config" / "grafana" / "dashboards"
BOARDS = (OVERVIEW, PIPELINE, NETWORK, ROLLBACK, HOST)


def files() -> dict[Path, str]:
    """Every file that there should be, and what it should hold."""
    return {FOLDER / f"{board.uid}.json": render(board) for board in BOARDS}


def main() -> int:
    """Exit status 1 with ``--check`` where a file is not as it should be."""
    behind = [
        (path, text)
        for path, text in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in behind:
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        print(path.name)
    return int("--check" in sys.argv and bool(behind))


if __name__ == "__main__":
    raise SystemExit(main())

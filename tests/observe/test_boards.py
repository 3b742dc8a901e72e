"""The boards: in step with their source, well laid out, and what Grafana understands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.units import __dict__ as known_units

from tests.observe.boards import FILES, FOLDER, ROOT, load, panels, queries
from tools.dashboards.__main__ import files
from tools.dashboards.board import plain

SCHEMA = Path(__file__).parent / "schema"
UNITS = {value for name, value in known_units.items() if not name.startswith("_")}
TSC = "--noEmit --strict --skipLibCheck --moduleResolution node --module esnext --target es2022"

OF_HOTKEYS = re.findall(
    r"^\| `(miner_\w+)` \| \w+ \| identity\b", (ROOT / "docs" / "metrics.md").read_text(), re.M
)
"""Metrics with the label ``identity``."""

each_board = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_the_json_is_in_step_with_its_source() -> None:
    """What is committed is what the source renders; no board is missing and none is left over."""
    rendered = files()

    assert set(rendered) == set(FOLDER.glob("*"))
    for path, text in rendered.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: python -m tools.dashboards"


@each_board
def test_the_sdk_reads_the_board_and_writes_the_same(path: Path) -> None:
    """A round trip through Grafana's own types of a board loses and changes nothing."""
    board = load(path)

    assert plain(Dashboard.from_json(board)) == board


@each_board
def test_ids_are_unique_and_every_query_has_a_letter(path: Path) -> None:
    """Panels are told apart by id, and the queries of a panel by refId."""
    board = load(path)
    ids = [panel["id"] for panel in board["panels"]]

    assert len(set(ids)) == len(ids) and min(ids) > 0
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters and letters == list("ABCDEFGHIJ"[: len(letters)]), panel["title"]
        assert all(target["expr"] for target in panel["targets"])


@each_board
def test_panels_lie_on_the_grid_and_do_not_overlap(path: Path) -> None:
    """All fit into 24 columns, and no cell belongs to two."""
    places = [(panel["title"], panel["gridPos"]) for panel in load(path)["panels"]]
    for title, place in places:
        assert place["x"] >= 0 and place["y"] >= 0 and place["h"] > 0, title
        assert place["w"] > 0 and place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart = apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, f"{one} lies over {other}"


@each_board
def test_panels_explain_themselves(path: Path) -> None:
    """Each has a title of its own in its row's board, a sentence, a known unit and thresholds."""
    board = load(path)
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        assert re.fullmatch(r"[A-Za-z].+", panel["title"])
        assert panel["description"].endswith("."), panel["title"]
        assert defaults["unit"] in UNITS, panel["title"]
        steps = defaults["thresholds"]["steps"]
        assert "value" not in steps[0] or steps[0]["value"] is None
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(values), panel["title"]


@each_board
def test_queries_ask_the_chosen_source_for_the_chosen_miners(path: Path) -> None:
    """No panel is bound to one Prometheus, and each narrows to the instances of the variable."""
    board = load(path)
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(board):
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
    for title, expr in queries(board):
        selectors = re.findall(r"\{([^}]*)\}", expr)
        assert selectors, title
        assert all('instance=~"$instance"' in selector for selector in selectors), title


@each_board
def test_queries_about_hotkeys_are_for_the_chosen_ones(path: Path) -> None:
    """On a board where hotkeys can be chosen, all that is told of each is narrowed to those."""
    board = load(path)
    chosen = "identity" in [variable["name"] for variable in board["templating"]["list"]]
    told = [
        (title, selector)
        for title, expr in queries(board)
        for name, selector in re.findall(r"\b([\w:]+)\{([^}]*)\}", expr)
        if name.removesuffix("_bucket") in OF_HOTKEYS or name.startswith("instance_identity")
    ]

    assert bool(told) >= chosen
    for title, selector in told:
        assert ('identity=~"$identity"' in selector) == chosen, title


@each_board
def test_a_table_has_a_column_for_each_query(path: Path) -> None:
    """Its rows are joined by labels that all its queries keep, and every column has a name."""
    for panel in (one for one in panels(load(path)) if one["type"] == "table"):
        merge, organize = panel["transformations"]
        named, order = (organize["options"][name] for name in ("renameByName", "indexByName"))
        labels = [name for name in sorted(named, key=order.get) if not name.startswith("Value #")]

        assert (merge["id"], organize["id"]) == ("merge", "organize")
        for target in panel["targets"]:
            assert target["expr"].startswith(f"sum by ({', '.join(labels)}) (")
            assert target["instant"] and f"Value #{target['refId']}" in named
        titles = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert titles == {title for name, title in named.items() if name not in labels}


@each_board
def test_boards_have_variables_links_and_annotations(path: Path) -> None:
    """Source and miner can be chosen, hotkey and GPU where it matters; boards lead to others."""
    board = load(path)
    names = [variable["name"] for variable in board["templating"]["list"]]
    used = [
        name
        for name in ("identity", "gpu")
        if any(f"${name}" in expr for _, expr in queries(board))
    ]

    assert names == ["datasource", "instance", *used]
    assert [link["tags"] for link in board["links"]] == [board["tags"]]
    notes = {note["name"] for note in board["annotations"]["list"]}
    assert notes == {"Rolled back", "Daemon started", "Worker restarted"}


def test_grafanas_own_types_accept_the_boards(tmp_path: Path) -> None:
    """TypeScript finds nothing in them that ``@grafana/schema`` does not allow."""
    compiler = SCHEMA / "node_modules" / ".bin" / "tsc"
    if not compiler.exists() or shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("npm and the packages of tests/observe/schema are missing")
        pytest.skip("npm install was not run in tests/observe/schema")
    (tmp_path / "node_modules").symlink_to(SCHEMA / "node_modules")
    shutil.copy(SCHEMA / "board.ts", tmp_path)
    text = "import type { Board } from './board';\n"
    for number, path in enumerate(FILES):
        text += f"export const board{number}: Board = {path.read_text(encoding='utf-8')};\n"
    (tmp_path / "boards.ts").write_text(text, encoding="utf-8")

    done = subprocess.run(
        [compiler, *TSC.split(), "boards.ts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")

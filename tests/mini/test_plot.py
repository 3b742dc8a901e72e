"""Curves of training runs."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from miner.mini.training.plot import draw, kept, read


def test_curves_become_a_picture(tmp_path: Path) -> None:
    """A curve keeps only rows that hold its key, and its drawing is well-formed and bounded."""
    (tmp_path / "run").mkdir()
    rows = [{"step": i, "minutes": i / 2, "loss": 1 / (1 + i)} for i in range(30)]
    rows.append({"step": 30, "minutes": 15, "x": 1})
    (tmp_path / "run" / "curve.jsonl").write_text("\n".join(map(json.dumps, rows)))
    curve = read(tmp_path, "run", "loss", "a loss")
    svg = ElementTree.fromstring(draw([curve, curve]))
    line = next(e for e in svg.iter() if e.tag.endswith("polyline"))
    numbers = [float(n) for pair in line.attrib["points"].split() for n in pair.split(",")]

    assert len(curve.values) == 30
    assert svg.attrib["width"] == "600"
    assert min(numbers) >= 0 and max(numbers) <= 300


def test_steps_that_were_done_again_are_drawn_once() -> None:
    """After a resumption from an earlier checkpoint its rows hold, not those of the lost steps."""
    rows = [{"step": step, "minutes": float(i)} for i, step in enumerate([1, 2, 3, 2, 3, 4])]

    assert [row["minutes"] for row in kept(rows)] == [0, 3, 4, 5]

"""Curves of training runs."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from miner.mini.training.plot import draw, read


def test_curves_become_a_picture(tmp_path: Path) -> None:
    """A curve keeps only rows that hold its key, and its drawing is well-formed and bounded."""
    (tmp_path / "run").mkdir()
    rows = [{"minutes": i / 2, "loss": 1 / (1 + i)} for i in range(30)] + [{"minutes": 15, "x": 1}]
    (tmp_path / "run" / "curve.jsonl").write_text("\n".join(map(json.dumps, rows)))
    curve = read(tmp_path, "run", "loss", "a loss")
    svg = ElementTree.fromstring(draw([curve, curve]))
    line = next(e for e in svg.iter() if e.tag.endswith("polyline"))
    numbers = [float(n) for pair in line.attrib["points"].split() for n in pair.split(",")]

    assert len(curve.values) == 30
    assert svg.attrib["width"] == "600"
    assert min(numbers) >= 0 and max(numbers) <= 300

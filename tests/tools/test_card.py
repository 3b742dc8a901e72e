"""``python -m tools.card``: parts are caught and timed, and the page is made from its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from miner.errors import ConfigError, MinerError
from miner.gpu.device import Device
from miner.gpu.parking import weight_bytes
from miner.gpu.quantise import RowScaledLinear
from miner.pipeline.full_size import Architecture, build
from miner.pipeline.painter_networks import in_precision
from tools.card import page
from tools.card.__main__ import main
from tools.card.bench import ROOT, Bench
from tools.card.order import PARTS, Part
from tools.card.outcome import Outcome, Report, Unmeasured
from tools.card.runner import run_parts
from tools.card.synthetic import KINDS, TINY, fill

CPU = Device(torch.device("cpu"), "cpu")


def report_of(parts: list[Part], folder: Path, seconds: float = 100, tiny: bool = True) -> Report:
    report = Report(folder / "card.json", {"card": "a card"})
    run_parts(parts, Bench(CPU, tiny, time.monotonic() + seconds), report)
    return report


def fine(_bench: Bench, out: Outcome) -> None:
    out.add("speed", 2.5, "s", planned=2.0, target=3.0)


def broken(_bench: Bench, out: Outcome) -> None:
    out.add("before", 1)
    raise RuntimeError("no such kernel\nand a second line")


def absent(_bench: Bench, _out: Outcome) -> None:
    raise Unmeasured("no library for it")


def test_a_part_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """Its figures so far, one line and the traceback are kept; the next part runs."""
    report = report_of([Part("a", "", 1, broken), Part("b", "", 1, fine)], tmp_path)
    first, second = json.loads(report.path.read_text())["parts"]

    assert (first["status"], second["status"]) == ("failed", "ok")
    assert first["errors"] == ["RuntimeError: no such kernel"]
    assert "in broken" in first["tracebacks"][0] and first["figures"][0]["value"] == 1
    assert second["figures"][0] == {
        "name": "speed",
        "value": 2.5,
        "unit": "s",
        "planned": 2.0,
        "target": 3.0,
    }
    assert report.failed


def test_what_cannot_be_measured_is_no_failure(tmp_path: Path) -> None:
    """The table says why."""
    report = report_of([Part("a", "title", 1, absent)], tmp_path)

    assert report.outcomes[0].status == "unmeasured" and not report.failed
    assert "no library for it" in next(report.table())


def test_a_part_that_does_not_fit_the_rest_is_skipped(tmp_path: Path) -> None:
    """A shorter one after it still runs."""
    parts = [Part("long", "", 500, broken), Part("short", "", 1, fine)]
    report = report_of(parts, tmp_path, seconds=50, tiny=False)

    assert [outcome.status for outcome in report.outcomes] == ["skipped", "ok"]
    assert "500 s" in report.outcomes[0].reason


def test_a_part_ends_when_the_time_is_used_up(tmp_path: Path) -> None:
    """What it found until then is kept, and no handler of its own stops that."""

    def endless(_bench: Bench, out: Outcome) -> None:
        out.add("before", 1)
        while True:
            with out.attempt("again"):
                signal.pause()

    report = report_of([Part("a", "", 0, endless), Part("b", "", 0, fine)], tmp_path, seconds=2)

    assert [outcome.status for outcome in report.outcomes] == ["skipped", "skipped"]
    assert report.outcomes[0].figures[0].value == 1


def test_an_interrupt_leaves_a_file(tmp_path: Path) -> None:
    """No part runs after it."""

    def interrupted(_bench: Bench, _out: Outcome) -> None:
        raise KeyboardInterrupt

    report = report_of([Part("a", "", 1, fine), Part("b", "", 1, interrupted)] * 2, tmp_path)

    found = json.loads(report.path.read_text())["parts"]
    assert [part["status"] for part in found] == ["ok", "skipped"]


def test_an_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before anything is measured."""
    assert main(["--tiny", "-o", str(tmp_path / "missing" / "card.json")]) == 1
    said = capsys.readouterr()
    assert "cannot be written: No such file or directory" in said.err and not said.out


def test_an_unknown_part_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It names those that there are."""
    assert main(["--tiny", "--only", "flux,nothing"]) == 1
    assert "no part 'nothing'; there are machine, small" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured on a CPU in its place."""
    assert main([]) == 1
    assert "no usable CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp8"])
@pytest.mark.parametrize("name", KINDS)
def test_a_network_built_block_by_block_has_the_bytes_of_a_loaded_one(
    name: str, precision: str
) -> None:
    """The same layers are made small, shared weights stay shared, and nothing is left empty."""
    kind, key = KINDS[name]
    shape = Architecture(kind, TINY[key])
    with torch.device("meta"):
        whole = in_precision(build(shape), precision, torch.float32, CPU_ON_META, True)  # type: ignore[arg-type]
    made = fill(build(shape), precision, torch.float32, CPU, True)  # type: ignore[arg-type]

    assert weight_bytes(made) == weight_bytes(whole)
    assert not any(tensor.is_meta for tensor in (*made.parameters(), *made.buffers()))
    small = [m for m in made.modules() if isinstance(m, RowScaledLinear)]
    assert bool(small) == (precision != "fp32" and name in ("text_encoder_2", "transformer"))


CPU_ON_META = Device(torch.device("meta"), "meta")


def test_the_page_is_what_its_files_say() -> None:
    """``python -m tools.card --page`` writes it."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.with_tables(text, page.files()) == text


def a_file(folder: Path, **changed: object) -> Path:
    values = {
        "card": "NVIDIA GeForce RTX 4090",
        "capability": [8, 9],
        "tiny": False,
        "when": "2026-01-01T00:00:00+00:00",
        "driver": "580.1",
        "versions": {"torch": "2.13.0"},
        "commit": "a" * 40,
        "changed": False,
        "command": "python -m tools.card",
        "parts": [
            {
                "part": "plans",
                "figures": [{"name": "24 GB, peak", "value": 19.52, "planned": 19.2}],
            }
        ],
    }
    file = folder / "card.json"
    file.write_text(json.dumps({**values, **changed}))
    return file


def test_a_card_has_its_column(tmp_path: Path) -> None:
    """A figure that the file holds stands beside its plan; the others stay unmeasured."""
    made = page.with_tables(page.BEGIN + page.END, [page.read(a_file(tmp_path))])
    row = next(line for line in made.splitlines() if "24 GB, peak" in line)

    assert [cell.strip() for cell in row.split("|")][5:10] == [
        "unmeasured",
        "unmeasured",
        "unmeasured",
        "19.5 (planned 19.2)",
        "unmeasured",
    ]


def test_a_card_that_is_another_has_a_column_of_its_own(tmp_path: Path) -> None:
    """A 3060 Ti is no 3060."""
    found = page.read(a_file(tmp_path, card="NVIDIA GeForce RTX 3060 Ti"))
    head = page.with_tables(page.BEGIN + page.END, [found]).splitlines()[2]
    assert head.endswith("| H200 | NVIDIA GeForce RTX 3060 Ti |")


@pytest.mark.parametrize("changed", [{"tiny": True}, {"capability": None}])
def test_figures_of_a_cpu_do_not_come_on_the_page(
    changed: dict[str, object], tmp_path: Path
) -> None:
    """Neither from ``--tiny`` nor from a machine without a card."""
    with pytest.raises(ConfigError, match="not those of a card"):
        page.read(a_file(tmp_path, **changed))


def test_every_row_is_of_a_part_that_there_is() -> None:
    """A part that is renamed leaves no row behind."""
    assert {row.part for row in page.ROWS} <= {part.name for part in PARTS}


def test_the_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """No other file is left beside it, and a folder that is gone is an error of ours."""
    report = report_of([Part("a", "", 1, fine)], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["card.json"]
    report.path = tmp_path / "missing" / "card.json"
    with pytest.raises(MinerError, match="cannot be written"):
        report.write()


@pytest.mark.slow
def test_all_parts_run_in_tiny_sizes(tmp_path: Path) -> None:
    """None fails and none is skipped on a CPU; every row of the page that a CPU has is there."""
    file = tmp_path / "card.json"
    command = [sys.executable, "-m", "tools.card", "--tiny", "-o", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert [part["part"] for part in found["parts"]] == [part.name for part in PARTS]
    assert {part["status"] for part in found["parts"]} <= {"ok", "unmeasured"}
    names = {
        (part["part"], figure["name"]) for part in found["parts"] for figure in part["figures"]
    }
    on_cards_only = {"nf4, a step", "on the card after 10", "this card, at rest"}
    rows = {(row.part, row.name) for row in page.ROWS if row.name not in on_cards_only}
    missing = {row for row in rows - names if row[0] != "overlap"}
    assert not missing

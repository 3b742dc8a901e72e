"""``miner plan``: the tables it prints, and the README's copy of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miner.cli import main
from miner.commands.plan import parse_capability, parse_size
from miner.errors import BadOption
from miner.gpu.plan import COMPONENTS, MemoryPlan

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_readme_has_the_table_that_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The table of all usual cards in the README is the output of ``miner plan --all``."""
    assert main(["plan", "--all"]) == 0
    assert capsys.readouterr().out in README.read_text(encoding="utf-8")


def test_a_described_card_has_a_row_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """Stage, model, precision, residency, bytes, peak, seconds and reason stand in a row."""
    options = ["--vram", "12GiB", "--capability", "8.9", "--host", "32GiB"]
    assert main(["plan", *options, "--preset", "flux-schnell"]) == 0
    first, headings, *rows = capsys.readouterr().out.splitlines()

    assert "11.2 GiB free of 11.5 GiB, 8.9, 32.0 GiB of host memory" in first
    assert headings.split() == [
        *("stage", "model", "precision", "residency", "weights", "peak", "seconds", "reason")
    ]
    assert [row.split()[0] for row in rows[:-1]] == list(COMPONENTS[:5])
    assert rows[-1].startswith("peak ") and "an estimate" in rows[-1]


def test_the_plan_as_json_is_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON is what ``MemoryPlan.from_json`` reads; a guessed capability is in it."""
    assert main(["plan", "--vram", "24GiB", "--preset", "flux-schnell", "--json"]) == 0
    plan = MemoryPlan.from_json(json.loads(capsys.readouterr().out))

    assert plan.card.capability == (8, 6)
    assert plan.of("transformer").precision == "int8"


def test_workers_that_differ_have_a_plan_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``worker.spread`` each kind of worker has a table, and in JSON a plan with its name."""
    monkeypatch.setenv("MINER_WORKER__SPREAD", '{"triposr": 3, "dreamgaussian": 1}')
    options = ["--vram", "24GiB", "--preset", "mini"]
    assert main(["plan", *options]) == 0
    text = capsys.readouterr().out
    assert main(["plan", *options, "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)

    assert text.count("a worker with triposr alone:") == 1
    assert [plan["generator"] for plan in plans] == ["triposr", "dreamgaussian"]
    used = [{stage["component"] for stage in plan["stages"]} for plan in plans]
    assert [names & {"triposr", "dreamgaussian"} for names in used] == [
        {"triposr"},
        {"dreamgaussian"},
    ]


def test_where_nothing_fits_the_status_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest plan is shown with its warnings."""
    options = ["--vram", "1GiB", "--capability", "7.5", "--host", "1GiB"]
    assert main(["plan", *options, "--preset", "flux-schnell"]) == 1
    assert "warning: nothing fits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12GiB", 12 * 1024**3),
        ("24 GB", 24 * 10**9),
        ("1.5gib", 1536 * 1024**2),
        ("1073741824B", 1 << 30),
    ],
)
def test_sizes_in_the_usual_spellings(text: str, size: int) -> None:
    """Binary and decimal units, with or without a space, in any case."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "12 apples", "-1GiB", "nan", "1e9", "99999999TiB"])
def test_what_is_no_size_is_named(text: str) -> None:
    """One clear error, no traceback."""
    with pytest.raises(BadOption, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("24", "24GiB"), (" 7.5 ", "7.5GiB"), ("4096", "4096B")]
)
def test_a_bare_number_is_no_size(text: str, meant: str) -> None:
    """A plan for a card of 24 bytes is nobody's wish: the unit is asked for."""
    with pytest.raises(BadOption, match=f"is no size without a unit; write it as {meant}$"):
        parse_size(text)


@pytest.mark.parametrize("text", ["8", "8.", "8.10", "ada", ""])
def test_what_is_no_capability_is_named(text: str) -> None:
    """Likewise."""
    with pytest.raises(BadOption, match="compute capability"):
        parse_capability(text)

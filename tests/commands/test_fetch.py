"""What ``miner fetch`` gets beside a preset's own models, and what is said where it was not got."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.commands.fetch import entries_of, sizes, smaller_painters_of
from miner.errors import WeightsError
from miner.gpu.plan import Card
from miner.gpu.weights import WeightStore
from miner.pipeline.planned import store_of_painter
from miner.settings import load_settings

GIB = 1 << 30
SMALL = Card("small", 4 * GIB, 4 * GIB, (7, 5), 8 * GIB)
LARGE = Card("large", 80 * GIB, 80 * GIB, (9, 0), 128 * GIB)
OTHER = "stable-diffusion-1.5"


@pytest.mark.parametrize(
    ("every", "on", "expected"),
    [(False, SMALL, [OTHER]), (False, LARGE, []), (True, LARGE, [OTHER])],
)
def test_the_painter_that_the_plan_chooses_is_got_too(
    every: bool, on: Card, expected: list[str]
) -> None:
    """A card that the preset's painter does not fit gets the other; with the flag all do."""
    settings = load_settings("flux-schnell", environ={})
    painters = smaller_painters_of(settings, every, on)
    names = [entry.name for entry in entries_of(settings, painters)]

    assert painters == expected
    assert names.count(OTHER) == len(expected)
    assert names.count("flux-schnell") == 1


@pytest.mark.parametrize("preset", ["gpu-24gb", "gpu-8gb"])
def test_the_list_sums_the_disk_needed(preset: str) -> None:
    """A line for each download with what confirms it, and the sum of the preset last."""
    entries = entries_of(load_settings(preset, environ={}))
    *lines, last = sizes(preset, entries)

    assert [line.split(":")[0] for line in lines] == [entry.name for entry in entries]
    assert all("confirmed: " in line for line in lines)
    total = sum(entry.bytes for entry in entries)
    assert last == f"{preset}: about {total / 1e9:.1f} GB of disk in all"


def test_no_other_painter_where_none_may_take_its_place() -> None:
    """Nothing is fetched that would never be used."""
    flags = {"memory": {"allow_smaller_painter": False}}
    settings = load_settings("flux-schnell", flags, environ={})
    assert smaller_painters_of(settings, False, SMALL) == []


def test_a_smaller_painter_that_is_missing_is_refused_with_its_command(tmp_path: Path) -> None:
    """The command in the line gets that model, on this card or another."""
    store = WeightStore(tmp_path, "flux-schnell")
    with pytest.raises(WeightsError, match=r"miner fetch --preset flux-schnell --smaller-painters"):
        store_of_painter(store, "flux-schnell", OTHER).find(OTHER)
    with pytest.raises(WeightsError, match=r"miner fetch --preset flux-schnell$"):
        store_of_painter(store, "flux-schnell", "flux-schnell").find("flux-schnell")

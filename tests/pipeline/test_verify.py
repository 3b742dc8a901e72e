"""Plans hold the bytes that the networks themselves take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miner.cli import main
from miner.errors import WeightsError
from miner.gpu.catalogue import Catalogue, load_catalogue
from miner.gpu.counted import TOLERANCE, Count
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.planner import make_plan
from miner.gpu.usual_cards import nominal_card
from miner.gpu.weights import WeightStore
from miner.pipeline.verify import Verifier
from miner.settings import MemorySettings, Preset, load_settings, preset_names
from miner.settings.memory import Precision

GIB = 1 << 30
NOWHERE = Path("/nonexistent")


def card(gib: float, capability: tuple[int, int] | None) -> Card:
    if capability is None:
        return Card("a CPU", int(gib * GIB), int(gib * GIB), None, int(gib * GIB))
    return nominal_card("a card", int(gib * GIB), capability, 64 * GIB)


def complete(name: str) -> Preset:
    """A preset with everything that it could use."""
    guide = "mini" if name == "mini" else "fast"
    more = {"self_check": {"mode": "report"}, "dreamgaussian": {"config": guide}}
    return load_settings(name, more, {}).preset


def counts(preset: Preset, plan: MemoryPlan) -> list[Count]:
    return list(Verifier(preset, WeightStore(NOWHERE, preset.name)).counts(plan))


def off(found: list[Count]) -> list[str]:
    return [f"{one.component} {one.precision} {one.difference:+.3f}" for one in found if one.is_off]


@pytest.mark.slow
@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize(
    "on",
    [
        card(4, (8, 6)),
        card(8, (8, 9)),
        card(12, (7, 5)),
        card(24, (8, 9)),
        card(80, (9, 0)),
        card(64, None),
    ],
    ids=lambda on: f"{on.total_bytes / GIB:.0f} {on.capability}",
)
def test_every_preset_is_planned_as_it_is(name: str, on: Card) -> None:
    """Within 3 %, on cards of each kind, with the self-check and the rollback generator."""
    preset = complete(name)
    plan = make_plan(on, preset)
    found = counts(preset, plan)

    assert [one.component for one in found] == [stage.component for stage in plan.stages]
    assert off(found) == []


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16", "int8", "fp8", "nf4"])
@pytest.mark.parametrize("name", ["flux-schnell", "gpu-4gb", "mini"])
def test_every_precision_is_planned_as_it_is(name: str, wanted: Precision) -> None:
    """Whatever is wished for all, on a card that holds it."""
    preset = complete(name)
    plan = make_plan(card(141, (9, 0)), preset, MemorySettings(precision=wanted))

    assert off(counts(preset, plan)) == []


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["fast", "image", "text", "text_mv"])
def test_every_guidance_is_planned_as_it_is(guide: str) -> None:
    """The networks of the rollback generator, by each shipped configuration."""
    preset = load_settings("flux-schnell", {"dreamgaussian": {"config": guide}}, {}).preset
    plan = make_plan(card(80, (9, 0)), preset)
    found = [one for one in counts(preset, plan) if one.component == "dreamgaussian"]

    assert len(found) == 1
    assert off(found) == []


def test_a_wrong_plan_is_off() -> None:
    """A catalogue that is 4 % off is found, one that is 2 % off is not."""

    def with_params(factor: float) -> Catalogue:
        known = load_catalogue()
        mini = known["mini/flux"]
        part = mini.parts["vae"]
        part = part.model_copy(update={"params": int(part.params * factor)})
        parts = {**mini.parts, "vae": part}
        return {**known, "mini/flux": mini.model_copy(update={"parts": parts})}

    preset = load_settings("mini", environ={}).preset
    on = card(8, (8, 9))
    bad = make_plan(on, preset, catalogue=with_params(1.04))
    good = make_plan(on, preset, catalogue=with_params(1.02))

    assert TOLERANCE == 0.03
    assert [one.component for one in counts(preset, bad) if one.is_off] == ["vae"]
    assert off(counts(preset, good)) == []


def test_the_command_prints_both_and_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each stage, and a status of 0 where all is within 3 %."""
    options = ["plan", "--verify", "--preset", "gpu-24gb", "--vram", "24GiB"]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert main([*options, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)

    assert "all within 3% of the plan" in text
    assert [row["component"] for row in rows] == [
        *("text_encoders", "transformer", "vae", "matting", "triposr")
    ]
    assert {row["source"] for row in rows} == {"published", "download"}
    (transformer,) = (row for row in rows if row["component"] == "transformer")
    assert transformer["precision"] == "int8"
    assert transformer["counted_bytes"] == pytest.approx(11.96e9, rel=0.001)


def test_the_command_fails_where_a_network_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A painter of other sizes under a known name is found out: its folder here is what counts."""
    folder = tmp_path / "flux-schnell" / "vae"
    folder.mkdir(parents=True)
    known = Path(__file__).parents[2] / "miner/mini/weights/flux"
    for name in ("text_encoder", "text_encoder_2", "transformer", "vae"):
        place = tmp_path / "flux-schnell" / name
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text((known / name / "config.json").read_text())
    options = ["--preset", "gpu-24gb", "--vram", "24GiB"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINER_WEIGHTS", str(tmp_path))
        assert main(["plan", "--verify", *options]) == 1

    assert "off by more than 3%: text_encoders, transformer, vae" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"_class_name": "AutoencoderKL", "block_out_channels": "x"}', "{}"]
)
def test_a_damaged_configuration_is_one_line(text: str, tmp_path: Path) -> None:
    """It names the file, and no traceback comes of it."""
    folder = tmp_path / "flux"
    for name in ("text_encoder", "text_encoder_2", "transformer", "vae"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(text)
    preset = load_settings("mini", {"text_to_image": {"weights": str(folder)}}, {}).preset
    plan = make_plan(card(8, (8, 9)), preset)
    with pytest.raises(WeightsError, match=str(folder)):
        counts(preset, plan)

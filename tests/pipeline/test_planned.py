"""A whole pipeline loaded by a plan: where its models wait, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miner.gpu.device import choose_device
from miner.gpu.planner import make_plan
from miner.pipeline.by_dreamgaussian import fit_settings
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.plan_trials import PlanTrials
from miner.pipeline.planned import as_planned
from miner.settings import RollbackSettings, config_dir, load_settings
from miner.settings.memory import Component, Precision, Residency
from tests.pipeline.plans import plan


def loaded(preset: Path, residency: Residency, precision: Precision = "fp32") -> Pipeline:
    """The tiny preset, all of whose models wait there as far as they can."""
    chosen = load_settings(str(preset), environ={})
    other: Residency = "segmented" if residency == "segmented" else "resident"
    residency_of: dict[Component, Residency] = {
        "matting": other,
        "vae": "host" if residency == "streamed" else residency,
        "triposr": "host" if residency == "streamed" else residency,
    }
    weights = chosen.preset.text_to_image.weights
    made = plan(residency, precision, residency_of=residency_of, painter=weights)
    return Pipeline.load(chosen.preset, chosen.weights, "cpu", plan=made)


@pytest.mark.parametrize("residency", ["resident", "host", "streamed", "segmented"])
def test_the_splat_is_the_same_wherever_models_wait(
    tiny_preset: Path, tiny_pipeline: Pipeline, residency: Residency
) -> None:
    """Loaded by a plan or without one, two jobs in a row give the same Gaussians."""
    pipeline = loaded(tiny_preset, residency)
    first, again = (pipeline.generate("a red cube", seed=3) for _ in range(2))
    expected = tiny_pipeline.generate("a red cube", seed=3)

    assert np.array_equal(first.gaussians.means, expected.gaussians.means)
    assert np.array_equal(again.gaussians.colors, expected.gaussians.colors)
    assert pipeline.plan is not None
    assert pipeline.plan.of("transformer").residency == residency


def test_segmented_models_are_gone_between_jobs(tiny_preset: Path) -> None:
    """After a job neither painter nor TripoSR holds weights, also after one that failed."""
    pipeline = loaded(tiny_preset, "segmented")
    pipeline.generate("a red cube")
    assert pipeline.painter is not None

    assert pipeline.painter.parameters == 0
    assert not pipeline.generators._residences["triposr"].here


def test_triposr_computes_in_the_plan_s_numbers(tiny_preset: Path) -> None:
    """The plan's bf16 reaches the reconstruction, and the splat passes the gate."""
    pipeline = loaded(tiny_preset, "resident", "bf16")
    made = pipeline.generate("a red cube")

    assert pipeline.preset.reconstruct.dtype == "bfloat16"
    assert made.quality.gaussians >= 7000


def test_a_smaller_painter_paints_as_the_catalogue_says() -> None:
    """Where the plan chose another model the preset's first stage is that model's."""
    preset = load_settings("flux-schnell", environ={}).preset
    other = as_planned(preset, plan(painter="stable-diffusion-1.5")).text_to_image

    assert (other.weights, other.scheduler) == ("stable-diffusion-1.5", "dpmsolver++")
    assert 20 <= other.steps <= 25
    assert other.template == preset.text_to_image.template


def test_the_embedded_preset_is_planned_resident_in_fp32() -> None:
    """On this machine's CPU the miniature runs as it always did."""
    preset = load_settings("mini", environ={}).preset
    found = PlanTrials.here(preset, "cpu", RollbackSettings()).plan

    assert {(stage.precision, stage.residency) for stage in found.stages} == {("fp32", "resident")}
    assert found == make_plan(choose_device("cpu").card(), preset) or found.warnings == ()


def test_the_rollback_generator_computes_in_the_plan_s_numbers(tmp_path: Path) -> None:
    """What the plan says stands before the configuration's own number type, and the plan knows of
    what the configuration names."""
    config = tmp_path / "named.toml"
    shipped = (config_dir() / "dreamgaussian" / "mini.toml").read_text(encoding="utf-8")
    config.write_text(shipped.replace("[guidance]", '[guidance]\ndtype = "bfloat16"'))
    preset = load_settings("mini", {"dreamgaussian": {"config": str(config)}}, {}).preset
    made = make_plan(choose_device("cpu").card(), preset)
    told = as_planned(preset, plan(precision="fp32", painter=preset.text_to_image.weights))

    assert made.of("dreamgaussian").precision == "bf16"
    assert fit_settings(preset).guidance.dtype == "bfloat16"
    assert fit_settings(told).guidance.dtype == "float32"

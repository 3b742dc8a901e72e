"""The benchmark of models with random weights, on small ones."""

from __future__ import annotations

import pytest
import torch

from miner.errors import DeviceError, StageError
from miner.gpu.device import choose_device
from miner.pipeline import synthetic
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.synthetic import BallOfCost, Outcome
from miner.settings import load_settings


def test_flux_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built the memory is looked at, and the error says both numbers."""
    monkeypatch.setattr(synthetic, "FLUX_BYTES", 10**18)
    with pytest.raises(DeviceError, match="needs about 1000000000 GB"):
        synthetic.bench_flux(load_settings("flux-schnell", environ={}), 1)


def test_the_ball_has_a_ball_s_surface(tiny_pipeline: Pipeline) -> None:
    """The stand-in reaches the usual threshold at two thirds of its radius, in real colours."""
    model = tiny_pipeline.reconstructor.model
    codes = torch.zeros(3, 12, 16, 16)
    ball = BallOfCost(model.field(codes))
    xyz = torch.tensor([[2 / 3 * ball.radius, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, ball.radius, 0.0]])
    density, color = ball.query(xyz)

    assert density[0].item() == pytest.approx(25, rel=1e-4)
    assert density[1] > 25 > density[2]
    assert torch.equal(density, ball.density(xyz))
    assert color.shape == (3, 3)


def test_the_outcome_is_a_table() -> None:
    """Each stage has a line with its times and its memory; a forgotten warm-up has none."""
    outcome = Outcome("net", choose_device("cpu"), 1.0, 2_000_000)
    with outcome.measured("warm-up"):
        pass
    outcome.forget()
    with outcome.measured("work"):
        pass
    lines = list(outcome.lines())

    assert "2.0 M parameters on cpu" in lines[0]
    assert len(lines) == 3
    assert lines[2].startswith("work")


def test_a_failing_stage_is_named() -> None:
    """What goes wrong in a measured block is an error of that stage."""
    outcome = Outcome("net", choose_device("cpu"), 1.0, 1)
    with pytest.raises(StageError, match=r"^work:"), outcome.measured("work"):
        raise ValueError("x")

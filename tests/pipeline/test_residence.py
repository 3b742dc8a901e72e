"""What a component weighs, beside what was planned; and which one ran out of memory."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from miner.gpu.device import choose_device
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.residence import Residence
from miner.settings import load_settings
from miner.settings.memory import Residency
from tests.pipeline.plans import plan

CPU = choose_device("cpu")
MIB = 1 << 20


class Weights:
    """A model of so many bytes, which may not come to the device."""

    def __init__(self, size: int, error: Exception | None = None) -> None:
        self.bytes = size
        self.error = error

    def park(self) -> None:
        pass

    def wake(self) -> None:
        if self.error is not None:
            raise self.error


def home(
    size: int, planned: int, residency: Residency = "resident", error: Exception | None = None
) -> Residence[Weights]:
    """A place for such a model under the name "transformer"."""
    return Residence(
        lambda: Weights(size, error),
        residency,
        0.0,
        CPU,
        name="transformer",
        loads_parked=True,
        planned_bytes=planned,
    )


@pytest.mark.parametrize(
    ("size", "planned", "said"),
    [
        (16_970 * MIB, 11_920 * MIB, True),
        (11_950 * MIB, 11_920 * MIB, False),
        (1040 * MIB, 1000 * MIB, False),  # 4 %, and less than 3 % and 16 MiB
        (1050 * MIB, 1000 * MIB, True),
        (12 * MIB, 2 * MIB, False),  # a small model's share is large
        (900 * MIB, 1000 * MIB, False),
        (900 * MIB, 0, False),  # nothing is known of it
    ],
)
def test_weights_over_the_plan_are_named_when_they_are_loaded(
    size: int, planned: int, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """More than 3 % and 16 MiB over the plan is one warning with both figures, before any job."""
    with caplog.at_level(logging.WARNING):
        home(size, planned)
    lines = [record.getMessage() for record in caplog.records]

    assert len(lines) == said
    assert all(
        "transformer" in line and str(size // MIB) in line and str(planned // MIB) in line
        for line in lines
    )


def test_what_is_loaded_for_each_use_is_compared_once(caplog: pytest.LogCaptureFixture) -> None:
    """A segmented component's warning comes with its first use, and does not come again."""
    segmented = home(500 * MIB, 100 * MIB, "segmented")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with segmented.in_use():
                pass

    assert len(caplog.records) == 1


def test_a_shortage_names_its_component(caplog: pytest.LogCaptureFixture) -> None:
    """A stage has several components: the log says which one did not come to the device."""
    with caplog.at_level(logging.WARNING), pytest.raises(torch.OutOfMemoryError):
        home(100 * MIB, 300 * MIB, error=torch.OutOfMemoryError("CUDA out of memory"))

    assert "transformer" in caplog.text
    assert "300 MiB" in caplog.text


def test_every_component_of_torch_says_what_it_weighs(tiny_preset: Path) -> None:
    """Painter and TripoSR say their bytes wherever the plan has them wait."""
    chosen = load_settings(str(tiny_preset), environ={})
    made = plan(painter=chosen.preset.text_to_image.weights)
    pipeline = Pipeline.load(chosen.preset, chosen.weights, "cpu", plan=made)
    assert pipeline.painter is not None
    triposr = pipeline.generators.bring("triposr")

    assert isinstance(triposr, ByTripoSR)
    assert triposr.bytes == 4 * sum(p.numel() for p in pipeline.reconstructor.model.parameters())
    assert all(part.bring().bytes > 0 for part in pipeline.painter.homes())

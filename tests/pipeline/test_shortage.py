"""Running out of memory inside a stage: one more try with less, counted, and then the failure."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from miner.errors import BadOutput, OutOfMemory
from miner.pipeline.by_triposr import SMALL_CHUNK, ByTripoSR
from miner.pipeline.generator import Call, Subject
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.shortage import Shortage, Shortages, with_less
from miner.pipeline.stage import CancelFlag
from miner.pipeline.text_to_image import TextToImage
from miner.settings import TextToImageSettings
from tests.fakes.tight import TightDevice, tight

KEYS = {"weights": "x", "steps": 2, "size_px": 128, "max_sequence_length": 16, "batch_size": 4}


def on(device: TightDevice, pipeline: Pipeline, painter: TextToImage | None = None) -> Pipeline:
    """The tiny pipeline with a device that counts, and perhaps another painter."""
    stages = pipeline.generators
    return Pipeline(pipeline.preset, device, painter or pipeline.painter, pipeline.remover, stages)


@pytest.fixture
def painter(tiny_preset: Path) -> TextToImage:
    """FLUX with a picture large enough to be felt."""
    device = tight(1 << 62)
    keys = TextToImageSettings.model_validate(KEYS)
    return TextToImage.load(tiny_preset.parent / "flux", keys, device)


def test_a_batch_that_does_not_fit_is_painted_one_by_one(
    tiny_pipeline: Pipeline, painter: TextToImage
) -> None:
    """With memory for one picture at a time four come all the same, of full size, and the count
    says that it went with less."""
    prompts, seeds = ["a", "b", "c", "d"], [0, 1, 2, 3]
    with tight(1 << 62).counting() as alone:
        painter.paint(prompts, seeds, small=True)
    with tight(1 << 62).counting() as together:
        painter.paint(prompts, seeds)
    device = tight((alone.peak + together.peak) // 2)
    pipeline = on(device, tiny_pipeline, painter)
    with device.counting() as count:
        made = pipeline.paint(prompts, seeds)

    assert count.refused == 1
    assert [painting.picture.size for painting in made] == [(128, 128)] * 4
    assert pipeline.shortages.take() == [Shortage("text_to_image", True)]
    assert pipeline.shortages.take() == []
    assert device.released == [1]


def test_one_picture_that_does_not_fit_is_painted_smaller(
    tiny_pipeline: Pipeline, painter: TextToImage
) -> None:
    """A single one comes with fewer pixels."""
    with tight(1 << 62).counting() as whole:
        painter.paint(["a"], [0])
    device = tight(int(whole.peak * 0.8))
    with device.counting():
        (made,) = on(device, tiny_pipeline, painter).paint(["a"], [0])

    assert made.picture.size == (96, 96)


def test_what_fits_in_no_way_is_the_stage_s_failure(
    tiny_pipeline: Pipeline, painter: TextToImage
) -> None:
    """After the second refusal the caller gets OutOfMemory of that stage, and the next job, with
    memory again, is whole."""
    device = tight(100_000)
    pipeline = on(device, tiny_pipeline, painter)
    with device.counting() as count, pytest.raises(OutOfMemory, match="text_to_image"):
        pipeline.paint(["a"], [0])

    assert count.refused == 2
    assert pipeline.shortages.take() == [Shortage("text_to_image", False)]
    assert pipeline.paint(["a"], [0])[0].picture.size == (128, 128)


def test_the_surface_is_asked_in_smaller_pieces(tiny_pipeline: Pipeline) -> None:
    """A field that cannot be asked in one piece is asked in small ones, and the job goes on."""
    reconstructor, keys = tiny_pipeline.reconstructor, tiny_pipeline.preset.surface
    codes = reconstructor.encode(np.full((32, 32, 3), 0.5, np.float32))
    with tight(1 << 62).counting() as whole:
        expected, _ = reconstructor.to_gaussians(codes, keys, 1)
    with tight(1 << 62).counting() as pieces:
        reconstructor.to_gaussians(codes, keys, 1, SMALL_CHUNK)
    device, shortages = tight((whole.peak + pieces.peak) // 2), Shortages()
    call = Call(device, {}, CancelFlag(), shortages=shortages)
    subject = Subject("x", 1, framed=np.full((32, 32, 3), 0.5, np.float32))
    generator = ByTripoSR(OnlyItsSurface(reconstructor, device, codes), keys)
    with device.counting() as count:
        made = generator.generate(subject, call)

    assert pieces.peak < whole.peak
    assert count.refused == 1
    assert len(made.gaussians) == len(expected)
    assert shortages.take() == [Shortage("surface", True)]


class OnlyItsSurface(Reconstructor):
    """Has its codes already: what encoding takes is not what is looked at."""

    def __init__(self, real: Reconstructor, device: TightDevice, codes: torch.Tensor) -> None:
        super().__init__(real.model, device)
        self.codes = codes

    def encode(self, picture: object) -> torch.Tensor:
        return self.codes


class Held:
    """Something large that a failing try holds."""


def test_the_first_try_s_memory_is_free_before_the_second() -> None:
    """Nothing that the failed try held is alive when the second begins."""
    alive: list[bool] = []
    seen: list[weakref.ref[Held]] = []

    def usual() -> str:
        held = Held()
        seen.append(weakref.ref(held))
        raise torch.OutOfMemoryError("full")

    def smaller() -> str:
        gc.collect()
        alive.append(seen[0]() is not None)
        return "small"

    assert with_less("x", tight(1), Shortages(), usual, smaller) == "small"
    assert alive == [False]


def test_other_failures_are_not_tried_again() -> None:
    """Only a lack of memory is a reason to try with less."""
    shortages = Shortages()

    def usual() -> str:
        raise BadOutput("x", "nothing there")

    with pytest.raises(BadOutput):
        with_less("x", tight(1), shortages, usual, lambda: "never")

    assert shortages.take() == []

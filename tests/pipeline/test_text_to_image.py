"""Painting with a tiny random FLUX: what a picture depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miner.errors import BadOutput, ConfigError
from miner.gpu.device import choose_device
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.text_to_image import TextToImage
from miner.settings import TextToImageSettings


def painter_of(pipeline: Pipeline) -> TextToImage:
    """The first stage of a pipeline."""
    assert pipeline.painter is not None
    return pipeline.painter


def test_a_picture_depends_on_its_prompt_and_seed_alone(tiny_pipeline: Pipeline) -> None:
    """Three prompts painted together, in two batches, are the pictures that they are alone."""
    prompts, seeds = ["a cube", "a tree", "a mug"], [1, 2, 3]
    painter = painter_of(tiny_pipeline)
    together = painter.paint(prompts, seeds)
    alone = [painter.paint([p], [s])[0] for p, s in zip(prompts, seeds, strict=True)]
    other = painter.paint(["a cube"], [9])[0]

    for one, many in zip(alone, together, strict=True):
        # Batched matrix products may round differently; a picture has 8 bits.
        assert np.abs(np.asarray(one, int) - np.asarray(many, int)).max() <= 1
    assert np.asarray(other).tolist() != np.asarray(alone[0]).tolist()


def test_steps_are_counted_over_all_batches(tiny_pipeline: Pipeline) -> None:
    """Progress goes from one to the last step of the last batch."""
    heard: list[tuple[int, int]] = []
    painter_of(tiny_pipeline).paint(
        ["a", "b", "c"], [0, 0, 0], on_step=lambda *step: heard.append(step)
    )

    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


class FakePipeline:
    """Answers a picture of NaN and keeps what it was called with."""

    def __init__(self) -> None:
        self.called: dict[str, object] = {}

    def set_progress_bar_config(self, **_: object) -> None:
        """Part of diffusers' interface."""

    def __call__(self, **arguments: object) -> object:
        self.called = arguments
        return type("Output", (), {"images": np.full((1, 8, 8, 3), np.nan)})()


def test_numbers_that_are_not_finite_are_an_error() -> None:
    """A picture of NaN, as half precision overflows make them, does not leave the stage."""
    painter = TextToImage(FakePipeline(), TextToImageSettings(weights="x"))
    with pytest.raises(BadOutput, match="text_to_image"):
        painter.paint(["a"], [0])


def test_the_template_is_put_around_the_prompt_as_it_is() -> None:
    """Braces and the like in a prompt are words, not a format."""
    fake = FakePipeline()
    settings = TextToImageSettings(weights="x", template="{prompt}, on white")
    with pytest.raises(BadOutput):
        TextToImage(fake, settings).paint(["a {x} {0}"], [0])

    assert fake.called["prompt"] == ["a {x} {0}, on white"]


@pytest.mark.parametrize("name", ["Nope", "FluxTransformer2DModel", "__version__"])
def test_an_unknown_pipeline_class_is_named(tmp_path: Path, name: str) -> None:
    """A name that is no pipeline of diffusers is an error in the preset."""
    settings = TextToImageSettings(weights="x", pipeline=name)
    with pytest.raises(ConfigError, match=name):
        TextToImage.load(tmp_path, settings, choose_device("cpu"))


def test_max_sequence_length_goes_only_where_it_is_known() -> None:
    """A pipeline whose call does not name the argument is called without it."""
    fake = FakePipeline()
    with pytest.raises(BadOutput):
        TextToImage(fake, TextToImageSettings(weights="x")).paint(["a"], [0])

    assert "max_sequence_length" not in fake.called

"""The whole line with tiny random models: what it gives, and that it gives it again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from miner.errors import BadOutput, BadPrompt, JobCancelled, OutOfMemory
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.stage import CancelFlag

STAGES = ["text_to_image", "background", "reconstruct", "surface", "quality"]


def test_a_prompt_becomes_valid_gaussians(tiny_pipeline: Pipeline) -> None:
    """A prompt gives Gaussians past the gate, what came of each stage, and a time for each."""
    made = tiny_pipeline.generate("  a  red cube ", seed=3)

    assert made.prompt == "a red cube"
    assert len(made.gaussians) == 7000 == made.quality.gaussians
    assert list(made.timings) == STAGES
    assert made.picture.size == (64, 64)
    assert made.cutout.mode == "RGBA"
    assert made.framed.ndim == 3
    assert made.framed.dtype == np.float32


def test_equal_seeds_give_equal_splats(tiny_pipeline: Pipeline) -> None:
    """The same prompt and seed give the same bytes, another seed gives others."""
    first, again, other = (tiny_pipeline.generate("a cube", seed=s) for s in (1, 1, 2))

    assert np.array_equal(first.gaussians.means, again.gaussians.means)
    assert not np.array_equal(first.gaussians.means, other.gaussians.means)


def test_a_painting_gives_what_its_prompt_gives(tiny_pipeline: Pipeline) -> None:
    """Painting first and lifting afterwards equals generating from the prompt."""
    paintings = tiny_pipeline.paint(["a tree"], [5])
    alone = tiny_pipeline.generate("a tree", seed=5)
    made = tiny_pipeline.generate(image=paintings[0])

    assert made.prompt == "a tree"
    assert made.seed == 5
    assert np.array_equal(made.gaussians.means, alone.gaussians.means)
    assert list(made.timings) == STAGES


def test_a_picture_skips_the_first_stage(tiny_pipeline: Pipeline) -> None:
    """A picture gives Gaussians without a prompt and without painting."""
    made = tiny_pipeline.generate(image=Image.new("RGB", (50, 70), "teal"), count=8000)

    assert made.prompt is None
    assert len(made.gaussians) == 8000
    assert "text_to_image" not in made.timings


def test_progress_names_the_stages_in_order(tiny_pipeline: Pipeline) -> None:
    """The callback hears each denoising step and the beginning and end of each later stage."""
    heard: list[tuple[str, int, int]] = []
    tiny_pipeline.generate("a cube", on_progress=lambda *event: heard.append(event))

    assert heard[:2] == [("text_to_image", 1, 2), ("text_to_image", 2, 2)]
    assert heard[2:] == [(name, done, 1) for name in STAGES[1:] for done in (0, 1)]


def test_cancelling_between_steps_stops_the_job(tiny_pipeline: Pipeline) -> None:
    """A flag set during the first denoising step ends the job there, and the next job is whole."""
    cancel = CancelFlag()
    steps: list[int] = []

    def stop(_stage: str, done: int, _total: int) -> None:
        steps.append(done)
        cancel.set()

    with pytest.raises(JobCancelled):
        tiny_pipeline.generate("a cube", cancel=cancel, on_progress=stop)

    assert steps == [1]
    assert len(tiny_pipeline.generate("a cube").gaussians) == 7000


def test_bad_prompts_are_refused_before_painting(tiny_pipeline: Pipeline) -> None:
    """One bad prompt in a batch and nothing is painted."""
    with pytest.raises(BadPrompt, match="empty"):
        tiny_pipeline.paint(["a cube", " "], [0, 0])


def test_an_empty_cut_out_is_an_error_of_its_stage(tiny_pipeline: Pipeline) -> None:
    """A picture without an object fails in the stage of the background, by name."""
    with pytest.raises(BadOutput, match="background: the mask is empty") as caught:
        tiny_pipeline.generate(image=Image.new("RGBA", (40, 40)))

    assert caught.value.stage == "background"


def test_memory_running_out_is_told_apart(tiny_pipeline: Pipeline) -> None:
    """What a library raises for want of memory becomes OutOfMemory with the stage's name."""

    class Greedy:
        def paint(self, *_: object, **__: object) -> list[Image.Image]:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    greedy = Pipeline(
        tiny_pipeline.preset,
        tiny_pipeline.device,
        Greedy(),  # type: ignore[arg-type]
        tiny_pipeline.remover,
        tiny_pipeline.reconstructor,
    )
    with pytest.raises(OutOfMemory, match="text_to_image"):
        greedy.generate("a cube")


def test_warm_up_works_with_and_without_the_first_stage(tiny_pipeline: Pipeline) -> None:
    """A pipeline for pictures only can be warmed up too."""
    pictures_only = Pipeline(
        tiny_pipeline.preset,
        tiny_pipeline.device,
        None,
        tiny_pipeline.remover,
        tiny_pipeline.reconstructor,
    )

    assert tiny_pipeline.warm_up().prompt is not None
    assert pictures_only.warm_up().prompt is None

"""The whole line with tiny random models: what it gives, and that it gives it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from miner.errors import BadOutput, BadPrompt, JobCancelled, OutOfMemory, StageError
from miner.pipeline.background import BackgroundRemover
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.generator import Call, Generator, Lifted, Subject
from miner.pipeline.generators import Generators
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.residence import Residence
from miner.pipeline.stage import CancelFlag
from miner.settings.memory import Residency

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


class Counting:
    """A matting network that counts its pictures."""

    def __init__(self, remover: BackgroundRemover) -> None:
        self._remover = remover
        self.pictures = 0

    def cut_out(self, picture: Image.Image, on_cpu: bool = False) -> Image.Image:
        self.pictures += 1
        return self._remover.cut_out(picture, on_cpu)

    def park(self) -> None:
        pass

    def wake(self) -> None:
        pass


@pytest.mark.parametrize(("residency", "pictures"), [("resident", 2), ("segmented", 1)])
def test_warm_up_mats_twice_where_the_network_stays(
    tiny_pipeline: Pipeline, residency: Residency, pictures: int
) -> None:
    """onnxruntime holds from its second run on what it will hold; a network that is dropped after
    each use holds nothing."""
    remover = Counting(tiny_pipeline.remover)
    place: Residence[Any] = Residence(lambda: remover, residency, 0.0, tiny_pipeline.device)
    pipeline = Pipeline(
        tiny_pipeline.preset,
        tiny_pipeline.device,
        tiny_pipeline.painter,
        place,
        tiny_pipeline.reconstructor,
    )
    pipeline.warm_up()

    assert remover.pictures == pictures


class Second:
    """A generator that counts its first small works, and may fail at them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.warmed = 0
        self.error = error

    def warm_up(self, subject: Subject, call: Call) -> None:
        assert subject.cutout is not None
        self.warmed += 1
        if self.error is not None:
            raise self.error

    def generate(self, subject: Subject, call: Call) -> Lifted:
        raise AssertionError("a warm-up is no job")

    def park(self) -> None:
        pass

    def wake(self) -> None:
        pass


def with_second(tiny: Pipeline, second: Second, residency: Residency) -> Pipeline:
    """The tiny pipeline with that generator to roll back to."""
    first: Generator = ByTripoSR(tiny.reconstructor, tiny.preset.surface)
    homes: dict[str, Residence[Generator]] = {
        "triposr": Residence(lambda: first, "resident", 0.0, tiny.device),
        "second": Residence(lambda: second, residency, 0.0, tiny.device),
    }
    generators = Generators(homes, {"triposr": "picture", "second": "picture"})
    return Pipeline(tiny.preset, tiny.device, tiny.painter, tiny.remover, generators)


@pytest.mark.parametrize(
    ("residency", "times"), [("resident", 1), ("host", 0), ("disk", 0), ("segmented", 0)]
)
def test_warm_up_lets_a_resident_second_generator_work(
    tiny_pipeline: Pipeline, residency: Residency, times: int
) -> None:
    """The generator to roll back to does a first small work where it stays on the device; nothing
    is brought or loaded for it."""
    second = Second()
    with_second(tiny_pipeline, second, residency).warm_up()

    assert second.warmed == times


@pytest.mark.parametrize(
    ("error", "stops"),
    [
        (StageError("dreamgaussian", "no kernel"), False),
        (BadOutput("dreamgaussian", "nothing came of it"), False),
        (OutOfMemory("dreamgaussian", "the device ran out of memory"), True),
    ],
)
def test_a_second_generator_that_fails_at_first_does_not_stop_a_start(
    tiny_pipeline: Pipeline, error: Exception, stops: bool
) -> None:
    """The first generator works without it; only memory that runs out is the plan's fault."""
    pipeline = with_second(tiny_pipeline, Second(error), "resident")
    if stops:
        with pytest.raises(OutOfMemory):
            pipeline.warm_up()
    else:
        assert pipeline.warm_up().generator == "triposr"

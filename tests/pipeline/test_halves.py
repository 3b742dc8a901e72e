"""A job in two halves: the same result as in one, whatever fails in the second."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.errors import BadOutput, JobCancelled, OutOfMemory, StageError
from miner.geometry.gaussians import Gaussians
from miner.gpu.device import Device
from miner.gpu.plan import Card, MemoryPlan
from miner.job import Plan
from miner.pipeline.by_triposr import ByTripoSR
from miner.pipeline.cancel import CancelFlag
from miner.pipeline.generators import Generators
from miner.pipeline.halves import SURFACE_BYTES, Halves
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.residence import Residence
from miner.pipeline.result import GenerationResult
from miner.pipeline.selfcheck import Verdict
from miner.pipeline.unfinished import Unfinished
from miner.settings import SurfaceKeys
from miner.settings.memory import Residency
from miner.triposr.surface import SurfaceReport
from tests.pipeline.test_generators import Other

PLAN = Plan("triposr", "other", spare_steps=("smaller_chunk",))


class Lifter(Reconstructor):
    """The tiny TripoSR, whose surfaces fail by a list, one after the other."""

    def __init__(self, inner: Reconstructor, errors: list[Exception | None]) -> None:
        super().__init__(inner.model, inner.device)
        self.errors = errors
        self.seen: weakref.ref[Tensor] | None = None

    def to_gaussians(
        self, codes: Tensor, keys: SurfaceKeys, seed: int, chunk: int | None = None
    ) -> tuple[Gaussians, SurfaceReport]:
        working_set = torch.zeros(8)
        self.seen = weakref.ref(working_set)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return super().to_gaussians(codes, keys, seed, chunk)


class BadCodes(Reconstructor):
    """Makes no codes."""

    def encode(self, picture: NDArray[np.float32]) -> Tensor:
        raise BadOutput("reconstruct", "not finite")


def pipeline_of(
    tiny: Pipeline,
    model: Reconstructor,
    other: Other | None = None,
    residency: Residency = "resident",
) -> Pipeline:
    """The tiny pipeline with this TripoSR, and another generator to roll back to."""
    lifter = ByTripoSR(model, tiny.preset.surface)
    homes: dict[str, Residence[Any]] = {
        "triposr": Residence(lambda: lifter, residency, 0.0, tiny.device)
    }
    if other is not None:
        homes["other"] = Residence(lambda: other, "resident", 0.0, tiny.device)
    needs = {name: "picture" for name in homes}
    generators = Generators(homes, needs)  # type: ignore[arg-type]
    return Pipeline(tiny.preset, tiny.device, tiny.painter, tiny.remover, generators)


def begin(
    halves: Halves, pipeline: Pipeline, seed: int = 0, plan: Plan = PLAN, cancel: Any = None
) -> GenerationResult | Unfinished[GenerationResult]:
    return halves.begin(pipeline.work("a cube", None, seed, cancel, None, plan), plan)


def begun(*arguments: Any, **more: Any) -> Unfinished[GenerationResult]:
    """As ``begin``, of a job that is divided."""
    rest = begin(*arguments, **more)
    assert isinstance(rest, Unfinished)
    return rest


def same(one: Gaussians, other: Gaussians) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_the_same_seed_gives_the_same_splat(tiny_pipeline: Pipeline) -> None:
    """Two halves on two threads make what one call makes, with the same stages in the timings."""
    whole = tiny_pipeline.generate("a cube", seed=7)
    rest = begun(Halves(tiny_pipeline, "on"), tiny_pipeline, seed=7, plan=Plan("triposr"))
    with ThreadPoolExecutor(1) as surface:
        made = surface.submit(rest.finish).result()

    assert same(made.gaussians, whole.gaussians)
    assert list(made.timings) == list(whole.timings)
    assert (made.generator, made.cause, made.steps) == ("triposr", "", ())


def test_a_surface_beside_the_next_job_changes_neither(tiny_pipeline: Pipeline) -> None:
    """Both threads use the model at once, and each job has its own result."""
    whole = [tiny_pipeline.generate("a cube", seed=seed).gaussians for seed in range(4)]
    halves, plan = Halves(tiny_pipeline, "on"), Plan("triposr")
    with ThreadPoolExecutor(1) as surface:
        rests = [
            surface.submit(begun(halves, tiny_pipeline, seed, plan).finish) for seed in range(4)
        ]
        made = [rest.result().gaussians for rest in rests]

    assert all(map(same, made, whole))
    assert halves.open == 0


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [
        ([BadOutput("surface", "x")], ("other", "bad_output", ())),
        ([ValueError("odd")], ("other", "exception", ())),
        ([OutOfMemory("surface", "x")], ("triposr", "", ())),  # with less, within the stage
        (
            [OutOfMemory("surface", "x")] * 2,
            ("triposr", "out_of_memory", ("smaller_chunk",)),
        ),
        ([OutOfMemory("surface", "x")] * 4, ("other", "out_of_memory", ())),
    ],
)
def test_what_fails_in_the_second_half_goes_on_as_in_one(
    tiny_pipeline: Pipeline, errors: list[Exception], outcome: tuple[str, str, tuple[str, ...]]
) -> None:
    """Smaller steps and the fallback take over as they do in a job that is not divided."""
    splat = tiny_pipeline.generate("a cube").gaussians
    found = []
    for divided in (False, True):
        other = Other(splat)
        pipeline = pipeline_of(tiny_pipeline, Lifter(tiny_pipeline.reconstructor, [*errors]), other)
        made = made_of(pipeline) if divided else pipeline.generate("a cube", plan=PLAN)
        assert len(other.calls) == (made.generator == "other")
        found.append((made.generator, made.cause, made.steps))

    assert found == [outcome, outcome]


def made_of(pipeline: Pipeline) -> GenerationResult:
    """What a worker makes of a job whose surface may fail."""
    rest = begun(Halves(pipeline, "on"), pipeline)
    try:
        return rest.finish()
    except StageError as error:
        return rest.again(error)


def test_without_a_fallback_the_failure_is_the_job_s(tiny_pipeline: Pipeline) -> None:
    """What nothing may take over is raised by the device's thread, as it was."""
    pipeline = pipeline_of(
        tiny_pipeline, Lifter(tiny_pipeline.reconstructor, [BadOutput("surface", "no surface")])
    )
    rest = begun(Halves(pipeline, "on"), pipeline, plan=Plan("triposr"))
    with pytest.raises(BadOutput, match="no surface") as caught:
        rest.finish()
    with pytest.raises(BadOutput, match="no surface") as again:
        rest.again(caught.value)

    assert again.value is caught.value


def test_an_error_that_is_no_stage_s_is_raised_again(tiny_pipeline: Pipeline) -> None:
    """A fault of ours is no reason for a rollback."""
    rest = begun(Halves(tiny_pipeline, "on"), tiny_pipeline, plan=Plan("triposr"))
    with pytest.raises(KeyError):
        rest.again(KeyError("ours"))


def test_a_failed_surface_holds_no_memory(tiny_pipeline: Pipeline) -> None:
    """Before the fallback begins, what the failed frames held is free, though the error lives."""
    model = Lifter(tiny_pipeline.reconstructor, [BadOutput("surface", "x")])
    pipeline = pipeline_of(tiny_pipeline, model)
    rest = begun(Halves(pipeline, "on"), pipeline, plan=Plan("triposr"))
    with pytest.raises(BadOutput) as caught:
        rest.finish()
    gc.collect()

    assert model.seen is not None
    assert model.seen() is None
    assert caught.value.__traceback__ is not None


def test_a_failure_before_the_surface_needs_no_second_half(tiny_pipeline: Pipeline) -> None:
    """The fallback's result comes whole."""
    other = Other(tiny_pipeline.generate("a cube").gaussians)
    inner = tiny_pipeline.reconstructor
    pipeline = pipeline_of(tiny_pipeline, BadCodes(inner.model, inner.device), other)
    made = begin(Halves(pipeline, "on"), pipeline)

    assert isinstance(made, GenerationResult)
    assert (made.generator, made.cause) == ("other", "bad_output")


def test_a_cancelled_job_ends_before_its_surface(tiny_pipeline: Pipeline) -> None:
    """The flag is looked at between the halves."""
    cancel = CancelFlag()
    halves = Halves(tiny_pipeline, "on")
    rest = begun(halves, tiny_pipeline, plan=Plan("triposr"), cancel=cancel)
    cancel.set()

    with pytest.raises(JobCancelled):
        rest.finish()
    assert halves.open == 0


class Checker:
    """Finds all well."""

    def judge(self, *_: object) -> Verdict:
        return Verdict(1.0, 0.0, ())


def planned(limit: int) -> MemoryPlan:
    """A plan for a card whose peak is a thousand bytes."""
    return MemoryPlan(Card("x", 10**10, 10**10, (8, 9), 0), (), "x", 1000, limit)


def checked(pipeline: Pipeline) -> None:
    pipeline.checker = Checker()  # type: ignore[assignment]


def tightly_planned(pipeline: Pipeline) -> None:
    pipeline.plan = planned(1000 + SURFACE_BYTES - 1)


@pytest.mark.parametrize(
    ("change", "residency", "wanted", "reason"),
    [
        (checked, "resident", "on", "self-check"),
        (tightly_planned, "resident", "on", "plan's peak"),
        (lambda _: None, "host", "on", "stays"),
        (lambda _: None, "segmented", "on", "stays"),
        (lambda _: None, "resident", "off", "worker.overlap"),
        (lambda _: None, "resident", "auto", "CPU"),
    ],
)
def test_where_a_job_is_not_divided(
    tiny_pipeline: Pipeline,
    change: Callable[[Pipeline], None],
    residency: Residency,
    wanted: Any,
    reason: str,
) -> None:
    """It comes whole, and there is a reason for the log."""
    pipeline = pipeline_of(tiny_pipeline, tiny_pipeline.reconstructor, residency=residency)
    change(pipeline)
    halves = Halves(pipeline, wanted)

    assert reason in halves.reason
    assert isinstance(begin(halves, pipeline, plan=Plan("triposr")), GenerationResult)


def test_a_gpu_with_the_memory_for_both_divides(tiny_pipeline: Pipeline) -> None:
    """With the default setting, from the first byte on that is enough."""
    pipeline = pipeline_of(tiny_pipeline, tiny_pipeline.reconstructor)
    pipeline.device = Device(torch.device("cuda", 0), "played")
    pipeline.plan = planned(1000 + SURFACE_BYTES)

    assert Halves(pipeline).reason == ""
    assert Halves(pipeline).possible


def test_after_a_shortage_no_job_is_divided(tiny_pipeline: Pipeline) -> None:
    """Two jobs that take memory from each other cost more than they bring."""
    pipeline = pipeline_of(tiny_pipeline, tiny_pipeline.reconstructor)
    halves = Halves(pipeline, "on")
    begun(halves, pipeline, plan=Plan("triposr")).finish()
    pipeline.shortages.add("surface", recovered=True)
    pipeline.shortages.take()

    assert isinstance(begin(halves, pipeline, plan=Plan("triposr")), GenerationResult)

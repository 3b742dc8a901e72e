"""Memory that runs out while models load leads to the next smaller plan, and says so."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import dataclass, field

import pytest
import torch

from miner.errors import DeviceError, OutOfMemory, StageError, WeightsError
from miner.gpu.capability import assume_installed
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.reasons import gib
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.plan_trials import MOST_PLANS, PlanTrials
from miner.settings import RollbackSettings, load_settings
from tests.fakes.cards import GIB, FakeCard
from tests.fakes.tight import tight

FLUX = load_settings("flux-schnell", environ={}).preset


@dataclass(frozen=True)
class Releasing(FakeCard):
    """A card of 24 GiB that counts how often its cache was handed back.

    Attributes:
        free: GiB that are free at each reading, the last one from then on.
    """

    released: list[int] = field(default_factory=list, compare=False)
    host_released: list[int] = field(default_factory=list, compare=False)
    free: list[float] = field(default_factory=lambda: [24.0], compare=False)

    def release(self) -> None:
        """Counts."""
        self.released.append(1)

    def release_host(self) -> None:
        """Counts."""
        self.host_released.append(1)

    def card(self) -> Card:
        """With what is free by now."""
        free = self.free.pop(0) if len(self.free) > 1 else self.free[0]
        return Card(self.name, 24 * GIB, int(free * GIB), (8, 9), 64 * GIB)


def trials(limit_bytes: int = 0, free: list[float] | None = None) -> tuple[PlanTrials, Releasing]:
    """FLUX on such a card, and perhaps a limit of the operator's."""
    device = Releasing(torch.device("cpu"), "a card", free=free or [24.0])
    memory = FLUX.memory.model_copy(update={"limit_bytes": limit_bytes})
    preset = FLUX.model_copy(update={"memory": memory})
    return PlanTrials(preset, device, RollbackSettings(), assume_installed), device


class Fails:
    """Loads nothing, and runs out of memory under the first plans."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.left = times
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.seen: list[MemoryPlan] = []

    def __call__(self, plan: MemoryPlan) -> MemoryPlan:
        self.seen.append(plan)
        if self.left:
            self.left -= 1
            raise self.error
        return plan


def test_a_plan_that_fits_is_the_only_one() -> None:
    """Without a shortage the planner's own plan holds, without a word more."""
    tried, device = trials()
    made = tried.run(Fails(0))

    assert made is tried.plan
    assert made.warnings == ()
    assert device.released == []


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemory("text_to_image", "the device ran out of memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`"),
    ],
)
def test_memory_that_runs_out_leads_to_a_smaller_plan(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The next plan takes less than what was seen to fail; it and the log say what happened, and
    the device's cache was handed back before."""
    tried, device = trials()
    work = Fails(1, error)
    with caplog.at_level(logging.WARNING):
        made = tried.run(work)
    first, second = work.seen

    assert made is second is tried.plan
    assert second.peak_bytes < first.peak_bytes
    assert second.peak_bytes <= second.limit_bytes < first.peak_bytes
    assert second.warnings == (
        f"ran out of memory in a plan of {gib(first.peak_bytes)}; "
        f"this one takes {gib(second.peak_bytes)}",
    )
    assert gib(first.peak_bytes) in caplog.text
    assert device.released == device.host_released == [1]


def test_each_try_takes_less_and_the_smallest_is_the_last() -> None:
    """However many plans there are, few are tried, and the last one is the smallest of all; only
    then the start fails, with the sizes of all plans."""
    tried, _ = trials()
    work = Fails(100)
    with pytest.raises(DeviceError) as caught:
        tried.run(work)
    peaks = [plan.peak_bytes for plan in work.seen]
    smallest = trials(limit_bytes=1)[0].plan.peak_bytes

    assert peaks == sorted(set(peaks), reverse=True)
    assert len(peaks) == MOST_PLANS
    assert peaks[-1] == smallest
    assert work.seen[-1].peak_bytes <= work.seen[-1].limit_bytes
    assert all(gib(peak) in str(caught.value) for peak in peaks)
    assert "\n" not in str(caught.value)


def test_the_operator_s_limit_stays() -> None:
    """A limit that was set holds for every plan."""
    tried, _ = trials(limit_bytes=8 * GIB)
    work = Fails(1)
    tried.run(work)

    assert all(plan.limit_bytes <= 8 * GIB for plan in work.seen)
    assert work.seen[1].peak_bytes < work.seen[0].peak_bytes


def test_the_next_plan_counts_what_is_free_by_then() -> None:
    """What another process took meanwhile is not planned with again."""
    tried, _ = trials(free=[24.0, 9.0])
    made = tried.run(Fails(1))

    assert made.card.free_bytes == 9 * GIB
    assert made.peak_bytes < 9 * GIB


def test_the_last_plan_knows_that_it_is() -> None:
    """After the smallest plan there is none, and before it there is one."""
    first, last = trials()[0], trials(limit_bytes=1)[0]

    assert not first.is_last
    assert last.is_last
    with pytest.raises(DeviceError, match="no smaller one is left"):
        last.run(Fails(1))


@pytest.mark.parametrize("error", [StageError("surface", "no"), ValueError("no"), WeightsError("")])
def test_other_failures_are_not_tried_again(error: Exception) -> None:
    """Only a lack of memory is a reason for another plan."""
    tried, _ = trials()
    work = Fails(1, error)
    with pytest.raises(type(error)):
        tried.run(work)

    assert len(work.seen) == 1


def test_a_next_plan_that_cannot_be_loaded_names_both_reasons() -> None:
    """Where the smaller plan wants weights that are not there, the shortage is named as well."""
    tried, _ = trials()

    def load(plan: MemoryPlan) -> None:
        if plan.warnings:
            raise WeightsError("sd is not there: miner fetch sd")
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError, match=r"out of memory in a plan of .* GiB.*miner fetch sd"):
        tried.run(load)


class Model:
    """Holds itself, as networks and pipelines do."""

    def __init__(self) -> None:
        self.me = self


def test_nothing_of_a_failed_try_is_held() -> None:
    """Models of the first try are gone before the second, cycles too, with the collector off as in
    a worker that starts."""
    tried, _ = trials()
    seen: list[weakref.ref[Model]] = []
    alive: list[bool] = []

    def load(plan: MemoryPlan) -> None:
        alive.extend(one() is not None for one in seen)
        model = Model()
        seen.append(weakref.ref(model))
        if len(seen) == 1:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            except torch.OutOfMemoryError as error:
                raise OutOfMemory("text_to_image", "the device ran out of memory") from error

    gc.disable()
    try:
        tried.run(load)
    finally:
        gc.enable()

    assert alive == [False]


def test_peaks_of_a_failed_try_are_forgotten() -> None:
    """What was measured under the plan that failed is not held against the next one."""
    tried, device = trials()

    def load(plan: MemoryPlan) -> None:
        first = not plan.warnings
        device.meter.take(100 if first else 40)
        device.note_peak("transformer")
        device.meter.take(-100 if first else -40)
        if first:
            raise torch.OutOfMemoryError("CUDA out of memory")

    tried.run(load)

    assert device.peaks == {"transformer": 40}


def test_the_embedded_preset_loads_by_a_smaller_plan() -> None:
    """With too little memory for all models at once they are loaded one after the other, although
    the plan said that all of them fit."""
    settings = load_settings("mini", {"device": "cpu"}, environ={})
    rollback = RollbackSettings()
    tried = PlanTrials.here(settings.preset, "cpu", rollback)
    first = tried.plan

    def load(plan: MemoryPlan) -> Pipeline:
        preset, weights = settings.preset, settings.weights
        return Pipeline.load(preset, weights, "cpu", rollback=rollback, plan=plan)

    with tight(12_000_000).counting() as count:
        pipeline = tried.run(load)

    assert count.refused >= 1
    assert {stage.residency for stage in first.stages} == {"resident"}
    assert pipeline.plan is not None
    assert pipeline.plan.of("triposr").residency == "segmented"
    assert "ran out of memory in" in pipeline.plan.warnings[-1]

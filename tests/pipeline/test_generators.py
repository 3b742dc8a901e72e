"""Generators in the pipeline: found by name, where they wait, and taking over from each other."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from miner.errors import ConfigError, DeadlineExceeded, OutOfMemory, StageError
from miner.geometry.gaussians import Gaussians
from miner.gpu.device import choose_device
from miner.job import Plan
from miner.pipeline.generator import Call, Generator, Lifted, Subject, find_generator
from miner.pipeline.generators import Generators, kinds_for
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.residence import Residence
from miner.pipeline.selfcheck import Verdict
from miner.settings import RollbackSettings, load_settings

PLAN = Plan("triposr", "other", spare_steps=("smaller_chunk", "smaller_resolution"))


@dataclass
class Other:
    """A generator that gives back a splat it was given, or raises."""

    splat: Gaussians
    error: Exception | None = None
    subjects: list[Subject] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    where: str = "device"

    def generate(self, subject: Subject, call: Call) -> Lifted:
        self.subjects.append(subject)
        self.calls.append(call)
        with call.stage("other"):
            if self.error is not None:
                raise self.error
        return Lifted(self.splat)

    def park(self) -> None:
        self.where = "host"

    def wake(self) -> None:
        self.where = "device"


class Failing(Other):
    """Fails so many times, and then gives the splat."""

    def __init__(self, splat: Gaussians, errors: list[Exception]) -> None:
        super().__init__(splat)
        self.errors = errors

    def generate(self, subject: Subject, call: Call) -> Lifted:
        self.error = self.errors.pop(0) if self.errors else None
        return super().generate(subject, call)


def pipeline_with(
    tiny: Pipeline, first: Generator, other: Generator, needs: str = "picture"
) -> Pipeline:
    """The tiny pipeline with two generators of the test."""
    device = tiny.device
    homes = {
        name: Residence(lambda one=one: one, "resident", 0.0, device)  # type: ignore[misc]
        for name, one in (("triposr", first), ("other", other))
    }
    generators = Generators(homes, {"triposr": "picture", "other": needs})  # type: ignore[dict-item]
    return Pipeline(tiny.preset, device, tiny.painter, tiny.remover, generators)


@pytest.fixture
def splat(tiny_pipeline: Pipeline) -> Gaussians:
    return tiny_pipeline.generate("a cube").gaussians


def test_the_fallback_gets_the_same_picture(tiny_pipeline: Pipeline, splat: Gaussians) -> None:
    """It is painted and cut out once, and the result names who made it and why."""
    first, other = Other(splat, ValueError("odd")), Other(splat)
    made = pipeline_with(tiny_pipeline, first, other).generate("a cube", seed=5, plan=PLAN)

    assert (made.generator, made.cause) == ("other", "exception")
    assert other.subjects[0].cutout is first.subjects[0].cutout is not None
    assert other.subjects[0].seed == 5
    assert list(made.timings) == ["text_to_image", "background", "other", "quality"]


def test_a_generator_that_reads_needs_no_picture(tiny_pipeline: Pipeline, splat: Gaussians) -> None:
    """Planned first it skips the painting; as the fallback it saves a job whose painting failed."""
    reader = Other(splat)
    pipeline = pipeline_with(tiny_pipeline, Other(splat), reader, needs="prompt")
    alone = pipeline.generate("a cube", plan=Plan("other"))

    class NoPainter:
        def paint(self, *_: object) -> None:
            raise ValueError("no paint")

    pipeline.painter = NoPainter()  # type: ignore[assignment]
    saved = pipeline.generate("a cube", plan=replace(PLAN, fallback="other"))

    assert "text_to_image" not in alone.timings
    assert alone.picture is None
    assert (saved.generator, saved.cause) == ("other", "exception")


def test_an_invalid_splat_goes_to_the_fallback(tiny_pipeline: Pipeline, splat: Gaussians) -> None:
    """What the gate refuses is as good as nothing."""
    bad = replace(splat, means=np.full_like(splat.means, np.nan))
    made = pipeline_with(tiny_pipeline, Other(bad), Other(splat)).generate("a cube", plan=PLAN)

    assert (made.generator, made.cause) == ("other", "bad_output")


def test_steps_reach_the_generator(tiny_pipeline: Pipeline, splat: Gaussians) -> None:
    """Out of memory twice, the third turn has both steps, and the result says so."""
    out = OutOfMemory("surface", "x")
    first = Failing(splat, [out, out])
    made = pipeline_with(tiny_pipeline, first, Other(splat)).generate("a cube", plan=PLAN)

    assert made.generator == "triposr"
    assert made.steps == ("smaller_chunk", "smaller_resolution")
    assert [tuple(call.steps) for call in first.calls][1:] == [made.steps[:1], made.steps]


def test_triposr_itself_takes_smaller_steps(tiny_pipeline: Pipeline) -> None:
    """A smaller chunk gives the same splat, a smaller resolution a valid one."""
    plain = tiny_pipeline.generate("a cube")
    chunked = tiny_pipeline.generate("a cube", plan=Plan(steps=("smaller_chunk",)))
    coarse = tiny_pipeline.generate("a cube", plan=Plan(steps=("smaller_resolution",)))

    assert np.allclose(plain.gaussians.means, chunked.gaussians.means, atol=1e-4)
    assert coarse.surface is not None
    assert plain.surface is not None
    assert coarse.surface.dense_points < plain.surface.dense_points


def test_fewer_steps_of_painting(tiny_pipeline: Pipeline) -> None:
    """One step less is painted, and never less than one."""
    heard: list[tuple[str, int, int]] = []
    tiny_pipeline.generate(
        "a cube", plan=Plan(steps=("fewer_steps",)), on_progress=lambda *e: heard.append(e)
    )

    assert heard[0] == ("text_to_image", 1, 1)


def test_no_time_is_told_as_such(tiny_pipeline: Pipeline, splat: Gaussians) -> None:
    """The generator sees what is left; where that is too little, the failure stands."""
    first, other = Other(splat, ValueError("odd")), Other(splat)
    pipeline = pipeline_with(tiny_pipeline, first, other)
    with pytest.raises(StageError, match="odd"):
        pipeline.generate("a cube", plan=replace(PLAN, seconds=5000.0, least_seconds=5001.0))

    assert other.calls == []
    assert 0 < first.calls[0].left_seconds() <= 5000.0


@pytest.mark.parametrize(("better", "generator"), [(0.9, "other"), (0.1, "triposr")])
def test_the_better_of_two_is_kept(
    tiny_pipeline: Pipeline, splat: Gaussians, better: float, generator: str
) -> None:
    """What the self-check doubts is tried by the fallback from there on; the higher score wins."""
    other = Other(splat)
    pipeline = pipeline_with(tiny_pipeline, Other(splat), other)

    class Checker:
        def judge(self, *_: object) -> Verdict:
            return Verdict(better, 0.0, ())

    doubted = replace(pipeline.generate("a cube", plan=PLAN), check=Verdict(0.5, 0.0, ()))
    pipeline.checker = Checker()  # type: ignore[assignment]
    kept = pipeline.better(doubted, PLAN)

    assert (kept.generator, kept.cause) == (generator, "self_check")
    assert other.subjects[0].start is doubted.gaussians


@pytest.mark.parametrize("error", [ValueError("odd"), DeadlineExceeded("late")])
def test_a_fallback_that_fails_costs_nothing(
    tiny_pipeline: Pipeline, splat: Gaussians, error: Exception
) -> None:
    """The doubted splat is better than none."""
    pipeline = pipeline_with(tiny_pipeline, Other(splat), Other(splat, error))
    doubted = pipeline.generate("a cube", plan=PLAN)

    assert pipeline.better(doubted, PLAN).generator == "triposr"


@pytest.mark.parametrize("residency", ["resident", "host", "disk"])
def test_where_a_generator_waits(splat: Gaussians, residency: str) -> None:
    """It comes when it is asked for, stays while it is used, and goes when it was not for long."""
    now, loads = [0.0], []

    def load() -> Other:
        loads.append(Other(splat))
        return loads[-1]

    home = Residence(load, residency, 10.0, choose_device("cpu"), lambda: now[0])  # type: ignore[arg-type]
    before = home.here
    home.bring()
    now[0] = 9.0
    home.rest()
    kept = home.here
    now[0] = 30.0
    home.rest()
    after, where = home.here, loads[-1].where
    home.bring()

    assert before == (residency == "resident")
    assert kept
    assert after == (residency == "resident")
    assert where == ("host" if residency == "host" else "device")
    assert len(loads) == (2 if residency == "disk" else 1)
    assert loads[-1].where == "device"


def test_a_generator_of_another_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an installed distribution names in the group is found; ours cannot be taken over."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[miner.generators]\ntheirs = their_generator:Theirs\ntriposr = their_generator:Theirs\n"
    )
    (tmp_path / "their_generator.py").write_text("class Theirs:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found, ours = find_generator("theirs"), find_generator("triposr")
    sys.modules.pop("their_generator", None)

    assert found.__name__ == "Theirs"  # type: ignore[attr-defined]
    assert ours.__name__ == "ByTripoSR"  # type: ignore[attr-defined]


def test_an_unknown_generator_is_named() -> None:
    """A mistyped name stops the start and lists those there are."""
    with pytest.raises(ConfigError, match=r"dreamgausian.*dreamgaussian, triposr"):
        find_generator("dreamgausian")


FIT = """
iters = 3
[guidance]
weights = "none"
weight = 0.0
[start]
kind = "silhouette"
num_pts = 7500
[views]
sizes_px = [64]
size_from = [0.0]
reference_size_px = 64
"""


@pytest.mark.parametrize("residency", ["resident", "disk"])
def test_dreamgaussian_takes_over(tiny_preset: Path, tmp_path: Path, residency: str) -> None:
    """Loaded with the preset it makes a valid splat of the picture that TripoSR failed at."""
    (tmp_path / "fit.toml").write_text(FIT)
    flags = {"dreamgaussian": {"config": str(tmp_path / "fit.toml")}}
    settings = load_settings(str(tiny_preset), flags, environ={})
    rollback = RollbackSettings(residency=residency)  # type: ignore[arg-type]
    pipeline = Pipeline.load(settings.preset, settings.weights, "cpu", rollback=rollback)

    class Broken(Other):
        def generate(self, subject: Subject, call: Call) -> Lifted:
            raise StageError("reconstruct", "broken by the test")

    splat = pipeline.generate("a cube").gaussians
    pipeline.generators.put_around("triposr", lambda *_: Broken(splat))
    made = pipeline.generate("a cube", plan=Plan("triposr", "dreamgaussian", seconds=60.0))

    assert pipeline.generators.names == ("triposr", "dreamgaussian")
    assert (made.generator, made.cause) == ("dreamgaussian", "exception")
    assert made.quality.gaussians >= 7000
    assert "dreamgaussian" in made.timings


def test_a_preset_without_it_has_no_rollback() -> None:
    """The second generator takes part where the preset says how to run it."""
    preset = load_settings("mini", environ={}).preset
    without = preset.model_copy(
        update={"dreamgaussian": preset.dreamgaussian.model_copy(update={"config": ""})}
    )
    named = preset.model_copy(
        update={"dreamgaussian": preset.dreamgaussian.model_copy(update={"config": "mini"})}
    )

    assert list(kinds_for(without, RollbackSettings())) == ["triposr"]
    assert list(kinds_for(named, RollbackSettings())) == ["triposr", "dreamgaussian"]
    assert list(kinds_for(named, RollbackSettings(generator=""))) == ["triposr"]

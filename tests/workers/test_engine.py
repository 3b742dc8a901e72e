"""The engine of the embedded preset, in a worker process of its own as the daemon runs it."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from miner import encoder
from miner.errors import BadImage, ConfigError, StartupError
from miner.job import Job, JobSpec, Plan, new_job_id
from miner.pipeline.generator import Call, Generator, Lifted, Subject
from miner.settings import WorkerSettings, config_dir, load_settings
from miner.workers.configurations import configuration
from miner.workers.engine import PipelineEngine
from miner.workers.local_executor import LocalExecutor
from tests.fakes.workers import Metrics, Time, job, until


async def test_the_embedded_preset_in_a_worker() -> None:
    """Prompts and pictures become assets in both formats; what is no picture is refused as such."""
    time = Time()
    settings = load_settings("mini", {"device": "cpu"}, environ={})
    async with LocalExecutor(settings, WorkerSettings(), Metrics(time)) as executor:
        steps: list[tuple[str, int, int]] = []
        ply, spz = await asyncio.gather(
            executor.submit(job("a red cube"), lambda *step: steps.append(step)),
            executor.submit(as_spz(job("a red cube"))),
        )
        pictured = await executor.submit(job(image=ball()))
        with pytest.raises(BadImage, match="not a picture"):
            await executor.submit(job(image=b"no picture at all"))
        (health,) = executor.health().workers

    assert len(encoder.decode(ply.data)) == ply.gaussians == 40_000
    assert len(encoder.decode(spz.data)) == spz.gaussians == 40_000
    assert len(spz.data) < len(ply.data) / 4
    assert ply.generator == "triposr"
    assert list(ply.timings) == [
        "text_to_image",
        "background",
        "reconstruct",
        "surface",
        "quality",
        "encode",
    ]
    assert steps[:3] == [("text_to_image", n, 3) for n in (1, 2, 3)]
    assert pictured.gaussians == 40_000
    assert "text_to_image" not in pictured.timings
    assert health.restarts == 0
    assert {"process", "import", "text_to_image", "warm_up"} <= set(health.load_seconds)


def test_a_bad_configuration_is_named() -> None:
    """A configuration the worker cannot read is an error of the start that names the key."""
    with pytest.raises(ConfigError, match="preset"):
        PipelineEngine().load({"device": "cpu", "weights": "/nowhere"})


class Full:
    """A generator under which memory runs out."""

    def __init__(self, real: Generator) -> None:
        self.park, self.wake = real.park, real.wake

    def generate(self, subject: Subject, call: Call) -> Lifted:
        with call.stage("reconstruct"):
            raise torch.OutOfMemoryError("CUDA out of memory")


def loaded(limit_bytes: int = 0) -> PipelineEngine:
    """The embedded preset without a second generator."""
    settings = load_settings("mini", {"memory": {"limit_bytes": limit_bytes}}, environ={})
    engine = PipelineEngine()
    engine.load(configuration(settings, settings.daemon.rollback.alone("triposr")))
    return engine


def test_a_first_job_without_memory_leads_to_the_next_plan() -> None:
    """Where memory runs out under the first job the models are loaded anew with less at once, and
    what the worker will report as its plan says so."""
    engine = loaded()
    pipeline, before = engine._loaded, engine.plan
    pipeline.generators.put_around("triposr", lambda _, real: Full(real))
    del pipeline
    seconds = engine.warm_up()

    assert seconds > 0
    assert engine.plan["peak_bytes"] < before["peak_bytes"]
    assert "ran out of memory in a plan of" in engine.plan["warnings"][-1]
    assert engine.shortages() == []


def test_a_first_job_that_went_with_less_leads_to_the_next_plan() -> None:
    """If the first job had to be made smaller, so would all others: a smaller plan is better."""
    engine = loaded()
    before = engine.plan
    engine._loaded.shortages.add("text_to_image", recovered=True)
    engine.warm_up()

    assert engine.plan["peak_bytes"] < before["peak_bytes"]


def test_under_the_smallest_plan_less_is_better_than_nothing() -> None:
    """There is no other plan: the worker starts, and its shortages are reported."""
    engine = loaded(limit_bytes=1)
    engine._loaded.shortages.add("text_to_image", recovered=True)
    engine.warm_up()

    assert engine.shortages() == [("text_to_image", True)]


def as_spz(one: Job) -> Job:
    spec = JobSpec(prompt=one.spec.prompt, seed=one.spec.seed, format="spz")
    return Job(new_job_id(), spec, one.requester, one.intake, one.deadline)


def ball() -> bytes:
    """A PNG of a grey disc on nothing."""
    picture = Image.new("RGBA", (64, 64))
    disc = Image.new("RGBA", (40, 40), (200, 200, 200, 255))
    picture.paste(disc, (12, 12))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


async def test_a_worker_alone_with_its_generator(tmp_path: Path) -> None:
    """Each of two loads, plans and warms up one generator; a prompt for either is answered."""
    shipped = (config_dir() / "dreamgaussian" / "mini.toml").read_text(encoding="utf-8")
    short = tmp_path / "short.toml"
    short.write_text(shipped.replace("\niters = 60", "\niters = 2"), encoding="utf-8")
    flags = {"device": "cpu", "dreamgaussian": {"config": str(short)}}
    settings = load_settings("mini", flags, environ={})
    both = WorkerSettings(count=2, spread={"triposr": 1, "dreamgaussian": 1})
    async with LocalExecutor(settings, both, Metrics(Time())) as executor:
        await until(lambda: executor.slots == 2)
        made = [
            await executor.submit(replace(job("a red cube", 3), plan=Plan(name)))
            for name in ("triposr", "dreamgaussian")
        ]
        first, second = executor.health().workers

    assert [asset.generator for asset in made] == ["triposr", "dreamgaussian"]
    assert "dreamgaussian" in made[1].timings
    assert (first.generators, second.generators) == (("triposr",), ("dreamgaussian",))
    assert {"triposr", "dreamgaussian"} & set(second.load_seconds) == {"dreamgaussian"}
    planned = {stage["component"] for stage in second.plan["stages"]}
    assert {"triposr", "dreamgaussian"} & planned == {"dreamgaussian"}


def test_what_it_holds_alone_needs_no_other_weights(tmp_path: Path) -> None:
    """A worker of the one generator starts on a machine without the other's weights."""
    settings = load_settings("mini", {"device": "cpu"}, environ={})
    gone = settings.preset.reconstruct.model_copy(update={"weights": "mini/nowhere"})
    preset = settings.preset.model_copy(update={"reconstruct": gone})
    rollback = settings.daemon.rollback
    there = settings.model_copy(update={"preset": preset})
    engine = PipelineEngine()
    engine.load(configuration(there, rollback.alone("dreamgaussian")))

    assert engine.generators == ("dreamgaussian",)
    with pytest.raises(StartupError, match="nowhere"):
        PipelineEngine().load(configuration(there, rollback.alone("triposr")))

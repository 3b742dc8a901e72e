"""The engine of the embedded preset, in a worker process of its own as the daemon runs it."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

from miner import encoder
from miner.errors import BadImage, ConfigError
from miner.job import Job, JobSpec, new_job_id
from miner.settings import WorkerSettings, load_settings
from miner.workers.engine import PipelineEngine
from miner.workers.local_executor import LocalExecutor
from tests.fakes.workers import Metrics, Time, job


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

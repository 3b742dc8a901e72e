"""Generate3D: what becomes a job, when it must be done, and what goes back."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from miner.errors import (
    BadImage,
    BadOption,
    BadPrompt,
    DeadlineTooShort,
    Draining,
    JobFailed,
    MinerError,
    QueueFull,
)
from miner.job import Asset, Failure
from miner.network.protocol import Generate3D
from tests.network.intake_fakes import ASSET, OTHER, PEER, Bench, intake_bench, picture


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with intake_bench(tmp_path) as made:
        yield made


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_a_prompt_becomes_a_splat(bench: Bench) -> None:
    """The reply carries the asset's bytes and what is known of it, and what was asked."""
    synapse = Generate3D(prompt="  a red\tcube ", seed=5, format="spz", timeout=60.0)
    reply = await bench.intake.generate(synapse, PEER)

    assert base64.b64decode(reply.results or "", validate=True) == ASSET.data
    assert (reply.generator, reply.gaussians) == ("triposr", 1234)
    assert reply.timings == dict(ASSET.timings)
    assert (reply.prompt, reply.seed) == ("  a red\tcube ", 5)


async def test_the_job_says_who_what_and_until_when(bench: Bench) -> None:
    """Spec, requester, priority and deadline come from the synapse and the peer."""
    await bench.intake.generate(Generate3D(prompt=" a  cube", seed=5, timeout=60.0), PEER)
    (job,) = bench.jobs

    assert (job.spec.prompt, job.spec.seed, job.spec.format) == ("a cube", 5, "spz")
    assert (job.requester, job.priority, job.intake) == (PEER.hotkey, 5000.0, "generate3d")
    assert job.deadline == bench.clock() + 58.0
    assert not job.promised
    assert job.task_id is None


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(None, 98.0), (0.0, 98.0), (-5.0, 98.0), (1e9, 198.0), (1.5, -0.5), (30.0, 28.0)],
)
async def test_a_timeout_is_bounded(bench: Bench, told: float | None, seconds: float) -> None:
    """Without a usable timeout the default holds, and no timeout is taken for more than may be."""
    await bench.intake.generate(Generate3D(prompt="a cube", timeout=told), PEER)

    assert bench.jobs[0].deadline == bench.clock() + seconds


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_becomes_a_job(bench: Bench, format: str) -> None:
    """The bytes of the picture go on as they came, undecoded."""
    data = picture(format=format)
    await bench.intake.generate(Generate3D(prompt="", image=base64_of(data)), PEER)

    assert bench.jobs[0].spec.image == data
    assert bench.jobs[0].spec.prompt is None


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({}, BadPrompt, "empty"),
        ({"prompt": " \n"}, BadPrompt, "empty"),
        ({"prompt": "a\x00b"}, BadPrompt, "control"),
        ({"prompt": "x" * 10_000_000}, BadPrompt, "characters"),
        ({"prompt": "a", "image": base64_of(picture())}, BadOption, "not both"),
        ({"image": ""}, BadImage, "known type"),
        ({"image": "%%%"}, BadImage, "the image is not base64"),
        ({"image": base64_of(picture())[:-1]}, BadImage, "not base64"),
        ({"image": base64_of(b"GIF89a" + bytes(50))}, BadImage, "known type"),
        ({"image": base64_of(picture(4))}, BadImage, "4 x 4 px"),
        ({"image": base64_of(picture()[:15])}, BadImage, "damaged"),
        ({"image": "Q" * (28 * 1024 * 1024)}, BadImage, "over 20 MiB"),
        ({"image": base64_of(bytes(20 * 1024 * 1024 + 1))}, BadImage, "over 20 MiB"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    bench: Bench, fields: dict[str, Any], error: type[MinerError], says: str
) -> None:
    """A prompt or picture that cannot be used is refused with its reason, before the queue."""
    with pytest.raises(error, match=says):
        await bench.intake.generate(Generate3D(**fields), PEER)

    assert bench.jobs == []


@pytest.mark.parametrize("refusal", [QueueFull("a"), Draining("b"), DeadlineTooShort("c")])
async def test_a_refusal_of_the_queue_reaches_the_caller(bench: Bench, refusal: MinerError) -> None:
    """What the queue raises is what the caller gets."""
    bench.queue.refuse = refusal
    with pytest.raises(type(refusal)):
        await bench.intake.generate(Generate3D(prompt="a cube"), PEER)


async def test_a_failure_keeps_its_code_and_status(bench: Bench) -> None:
    """A job without an asset is answered as it failed."""
    bench.queue.answer = Failure("deadline_exceeded", 504, "too late")
    with pytest.raises(JobFailed, match="too late") as caught:
        await bench.intake.generate(Generate3D(prompt="a cube"), PEER)

    assert (caught.value.code, caught.value.status) == ("deadline_exceeded", 504)


async def test_who_leaves_withdraws_the_job(bench: Bench) -> None:
    """When the handler is cancelled its ticket is left, and the cancellation goes on."""
    bench.queue.answer = None
    waiting = asyncio.create_task(bench.intake.generate(Generate3D(prompt="a cube"), PEER))
    await bench.queue.submitted.wait()
    (ticket,) = bench.queue.tickets
    await ticket.waiting.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert ticket.left


async def test_who_stays_does_not_leave(bench: Bench) -> None:
    """An answered ticket is not left."""
    await bench.intake.generate(Generate3D(prompt="a cube"), PEER)

    assert not bench.queue.tickets[0].left


async def test_an_answer_is_delivered(bench: Bench) -> None:
    """The journal knows that the requester has the result."""
    await bench.intake.generate(Generate3D(prompt="a cube"), PEER)
    record = await bench.journal.find(bench.jobs[0].id)

    assert record is not None
    assert record.delivered_at is not None


async def test_an_equal_request_is_answered_from_the_journal(bench: Bench) -> None:
    """What the same hotkey asked before is not made twice while the result is kept."""
    first = await bench.intake.generate(Generate3D(prompt="a cube", seed=1), PEER)
    again = await bench.intake.generate(Generate3D(prompt=" a cube ", seed=1), PEER)

    assert len(bench.jobs) == 1
    assert again.results == first.results
    assert (again.generator, again.gaussians, again.timings) == (
        *(first.generator, first.gaussians),
        first.timings,
    )


@pytest.mark.parametrize("change", [{"prompt": "a cup"}, {"seed": 2}, {"format": "ply"}])
async def test_another_request_is_made(bench: Bench, change: dict[str, Any]) -> None:
    """A request that differs in anything that matters is a job of its own."""
    fields: dict[str, Any] = {"prompt": "a cube", "seed": 1, "format": "spz"}
    await bench.intake.generate(Generate3D(**fields), PEER)
    await bench.intake.generate(Generate3D(**(fields | change)), PEER)

    assert len(bench.jobs) == 2


async def test_results_are_not_shown_to_other_hotkeys(bench: Bench) -> None:
    """An equal request of another hotkey is a job of its own."""
    await bench.intake.generate(Generate3D(prompt="a cube"), PEER)
    await bench.intake.generate(Generate3D(prompt="a cube"), OTHER)

    assert [job.requester for job in bench.jobs] == [PEER.hotkey, OTHER.hotkey]


async def test_a_failed_request_can_be_made_again(bench: Bench) -> None:
    """A failure is not kept as an answer to the next request."""
    bench.queue.answer = Failure("worker_lost", 500, "gone")
    with pytest.raises(JobFailed):
        await bench.intake.generate(Generate3D(prompt="a cube"), PEER)
    bench.queue.answer = ASSET

    assert (await bench.intake.generate(Generate3D(prompt="a cube"), PEER)).results


async def test_what_the_caller_wrote_into_the_answer_is_gone(bench: Bench) -> None:
    """The fields of the answer come from us alone."""
    synapse = Generate3D(prompt="a cube", results="evil", generator="evil", gaussians=9)
    reply = await bench.intake.generate(synapse, PEER)

    assert (reply.generator, reply.gaussians) == ("triposr", 1234)
    assert reply.results != "evil"


async def test_large_results_go_back_whole(bench: Bench) -> None:
    """A result of megabytes, encoded beside the loop, is the same bytes."""
    data = os.urandom(5_000_001)
    bench.queue.answer = Asset(data, "spz", 1, "triposr", {})
    reply = await bench.intake.generate(Generate3D(prompt="a cube"), PEER)

    assert base64.b64decode(reply.results or "") == data

"""TGTask and TGPoll: what is promised, to whom, and how it is asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miner.errors import BadOption, BadPrompt, Draining, NotReady, QueueFull
from miner.job import MAIN, Failure
from miner.network.protocol import Generate3D, TGPoll, TGTask
from tests.network.intake_fakes import ASSET, OTHER, PEER, Bench, intake_bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with intake_bench(tmp_path) as made:
        made.queue.answer = None
        yield made


async def offer(bench: Bench, task_id: str = "t", prompt: str = "a cube", peer=PEER) -> str | None:
    return (await bench.intake.offer(TGTask(prompt=prompt, task_id=task_id), peer)).status


async def poll(bench: Bench, task_id: str = "t", peer=PEER) -> tuple[str | None, str | None]:
    reply = await bench.intake.poll(TGPoll(task_id=task_id), peer)
    return reply.status, reply.results


async def test_a_task_is_in_the_journal_before_it_is_promised(bench: Bench) -> None:
    """When the validator hears "IN QUEUE", the job is on record as promised."""
    assert await offer(bench) == "IN QUEUE"
    record = await bench.journal.find_task(MAIN, "t")

    assert record is not None
    assert (record.requester, record.prompt, record.promised) == (PEER.hotkey, "a cube", True)
    assert (record.intake, record.format, record.priority) == ("tgtask", "spz", 5000.0)
    assert bench.jobs[0].deadline == bench.clock() + 100.0


async def test_a_full_queue_has_its_own_status(bench: Bench) -> None:
    """A task that is not taken is told so in the protocol's word, and is not known afterwards."""
    bench.queue.refuse = QueueFull("64 wait")

    assert await offer(bench) == "ERROR_QUEUE_FULL"
    assert await poll(bench) == ("NOT FOUND", None)


@pytest.mark.parametrize("refusal", [Draining("stopping"), NotReady("loading")])
async def test_other_refusals_are_errors(bench: Bench, refusal: Exception) -> None:
    """What is not a full queue is answered with its own status."""
    bench.queue.refuse = refusal  # type: ignore[assignment]
    with pytest.raises(type(refusal)):
        await offer(bench)


async def test_a_known_task_is_taken_once(bench: Bench) -> None:
    """An equal offer of the same hotkey finds the task in hand and makes no other."""
    assert await offer(bench) == "IN QUEUE"
    assert await offer(bench, prompt=" a  cube") == "IN QUEUE"
    assert len(bench.jobs) == 1


async def test_an_id_stays_with_its_first_owner(bench: Bench) -> None:
    """Neither another hotkey nor another prompt takes a known id over."""
    await offer(bench)

    assert await offer(bench, peer=OTHER) is None
    assert await offer(bench, prompt="a cup") is None
    assert len(bench.jobs) == 1
    assert await poll(bench) == ("IN QUEUE", None)
    assert await poll(bench, peer=OTHER) == ("FORBIDDEN", None)


async def test_offers_at_the_same_moment_make_one_task(bench: Bench) -> None:
    """Of simultaneous offers of one id one is taken, and each is answered by who owns it."""
    offers = [offer(bench), offer(bench), offer(bench, peer=OTHER), offer(bench)]
    statuses = await asyncio.gather(*offers)

    assert statuses == ["IN QUEUE", "IN QUEUE", None, "IN QUEUE"]
    assert len(bench.jobs) == 1


@pytest.mark.parametrize("task_id", ["", "x" * 129, "a\x00b", "a\nb", "\udcff"])
async def test_an_id_that_cannot_be_one_is_refused(bench: Bench, task_id: str) -> None:
    """Such an id is refused when offered, and unknown when polled."""
    task = TGTask.model_construct(prompt="a cube", task_id=task_id)
    with pytest.raises(BadOption, match="task_id"):
        await bench.intake.offer(task, PEER)
    asked = await bench.intake.poll(TGPoll.model_construct(task_id=task_id), PEER)

    assert asked.status == "NOT FOUND"


async def test_a_prompt_that_cannot_be_one_is_refused(bench: Bench) -> None:
    """A task is held to the rules of prompts before it is promised."""
    with pytest.raises(BadPrompt):
        await offer(bench, prompt=" ")

    assert await poll(bench) == ("NOT FOUND", None)


async def test_a_poll_tells_how_the_task_stands(bench: Bench) -> None:
    """A task is not found, in the queue, in progress, and done with its result, in turn."""
    assert await poll(bench) == ("NOT FOUND", None)
    await offer(bench)
    assert await poll(bench) == ("IN QUEUE", None)
    bench.journal.begin(bench.jobs[0].id, 1)
    assert await poll(bench) == ("IN PROGRESS", None)
    await bench.queue.finish(bench.queue.tickets[0], ASSET)
    status, results = await poll(bench)

    assert status == "DONE"
    assert base64.b64decode(results or "", validate=True) == ASSET.data


async def test_a_failed_task_is_told_as_failed(bench: Bench) -> None:
    """A failure ends the task, without a result."""
    await offer(bench)
    await bench.queue.finish(bench.queue.tickets[0], Failure("worker_lost", 500, "gone"))

    assert await poll(bench) == ("FAILED", None)


async def test_a_result_can_be_fetched_again_until_it_expires(bench: Bench) -> None:
    """A lost reply loses nothing; after its time the result is not found."""
    await offer(bench)
    await bench.queue.finish(bench.queue.tickets[0], ASSET)
    first = await poll(bench)
    assert first == await poll(bench)
    assert first[0] == "DONE"
    bench.clock.now += 601.0
    await bench.journal.sweep()

    assert await poll(bench) == ("NOT FOUND", None)


async def test_a_fetched_result_is_delivered(bench: Bench) -> None:
    """The journal knows from the poll that the requester has it, and not before."""
    await offer(bench)
    await bench.queue.finish(bench.queue.tickets[0], ASSET)
    before = await bench.journal.find_task(MAIN, "t")
    await poll(bench)
    after = await bench.journal.find_task(MAIN, "t")

    assert before is not None
    assert before.delivered_at is None
    assert after is not None
    assert after.delivered_at is not None


async def test_what_the_caller_wrote_into_the_answer_is_gone(bench: Bench) -> None:
    """Status and results come from us alone, also where there are none."""
    await offer(bench)
    task = TGTask(prompt="a cup", task_id="t", status="IN QUEUE")
    asked = TGPoll(task_id="none", status="DONE", results="evil")

    assert (await bench.intake.offer(task, PEER)).status is None
    reply = await bench.intake.poll(asked, PEER)
    assert (reply.status, reply.results) == ("NOT FOUND", None)


def test_there_is_a_handler_for_each_synapse(bench: Bench) -> None:
    """The axon is given all three."""
    assert set(bench.intake.handlers()) == {Generate3D, TGTask, TGPoll}

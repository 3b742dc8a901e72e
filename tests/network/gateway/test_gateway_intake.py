"""The gateways' intake: what it asks for, and that what is ours comes to its end."""

from __future__ import annotations

import asyncio
import json

import pytest

from miner.errors import OutOfMemory
from miner.job import Asset, Failure
from miner.network.gateway.assignments import KEY
from tests.network.gateway.rig import (
    OTHER_URL,
    URL,
    HandGateway,
    HandTime,
    KeepingJournal,
    Life,
    turns,
)


@pytest.fixture
def gateway() -> HandGateway:
    return HandGateway()


@pytest.fixture
def journal() -> KeepingJournal:
    return KeepingJournal()


@pytest.fixture
def time() -> HandTime:
    return HandTime()


async def test_a_task_is_made_and_brought(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A task becomes a promised job with its seed, and its result reaches the gateway once."""
    task_id = gateway.offer(prompt=" a red  cube ", seed=-2)
    async with Life(gateway, journal, time) as life:
        job = life.executor.begun[0]
        assert (job.spec.prompt, job.spec.seed, job.spec.format) == ("a red cube", 2**32 - 2, "spz")
        assert (job.intake, job.promised, job.task_id) == ("gateway", True, f"gateway:{task_id}")
        assert job.deadline == time.now + 600
        await life.finish_all()
        await turns()

    assert [result.data for result in gateway.results[task_id]] == [job.id.encode()]  # type: ignore[union-attr]
    assert journal.delivered[job.id] == 1
    assert "gateway_result" in journal.events
    assert life.calls.seen["add_result", "success"] == 1
    assert life.intake.owed == 0


async def test_the_journal_has_the_task_before_the_workers(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """While the disk does not answer, nothing is begun; the token is on it before the job is."""
    task_id = gateway.offer()
    journal.gate = asyncio.Event()
    async with Life(gateway, journal, time) as life:
        assert life.executor.begun == []
        journal.gate.set()
        await turns()
        assert len(life.executor.begun) == 1
        kept = json.loads(journal.facts[KEY])
        assert [(one["task_id"], one["token"]) for one in kept] == [
            (task_id, gateway.given[task_id])
        ]


async def test_no_more_is_asked_for_than_can_begin_soon(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """Free workers and the few ahead are what is asked for; while they are busy, nothing."""
    for _ in range(9):
        gateway.offer()
    async with Life(gateway, journal, time, workers=2, ahead=1) as life:
        assert gateway.asked == [(URL, 3)]
        await time.pass_(60)
        assert len(gateway.asked) == 1
        life.executor.succeed(life.executor.begun[0].id)
        await time.pass_(2)
        assert gateway.asked == [(URL, 3), (URL, 1)]


@pytest.mark.parametrize("how", ["no worker", "draining"])
async def test_nothing_is_asked_for_where_nothing_can_be_done(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime, how: str
) -> None:
    """Without a worker, and while the daemon drains, tasks stay where they are."""
    life = Life(gateway, journal, time)
    life.executor.alive = how != "no worker"
    if how == "draining":
        await life.queue.drain(0)
    async with life:
        gateway.offer()
        await time.pass_(60)

    assert gateway.asked == []


async def test_several_gateways_are_asked_and_share_the_room(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """What one gateway is being asked for is not asked of the other at the same moment."""
    async with Life(gateway, journal, time, urls=(URL, OTHER_URL), ahead=0) as life:
        await time.pass_(30)
        assert {url for url, _ in gateway.asked} == {URL, OTHER_URL}
        for _ in range(4):
            gateway.offer()
        await time.pass_(30)
        assert len(life.executor.begun) == 1
        assert life.queue.snapshot().depth == 0


async def test_questions_keep_their_pace(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """An idle gateway is asked every five seconds; all together stay under the calls a minute."""
    async with Life(gateway, journal, time):
        await time.pass_(60)
        assert 11 <= len(gateway.asked) <= 13
    gateway.asked.clear()
    many = tuple(f"https://g{i}.example" for i in range(20))
    async with Life(gateway, journal, time, urls=many):
        await time.pass_(600)
        assert 900 <= len(gateway.asked) <= 1020


async def test_a_gateway_in_trouble_is_asked_less_and_less(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """Failures in a row lengthen the wait up to a minute; one success ends that."""
    gateway.trouble["get_tasks"] = ["busy"] * 8
    async with Life(gateway, journal, time) as life:
        await time.pass_(120)
        assert 4 <= len(gateway.asked) <= 8
        await time.pass_(400)
        gateway.asked.clear()
        await time.pass_(60)
        assert len(gateway.asked) >= 11
        assert life.calls.seen["get_tasks", "gateway_unavailable"] == 8


async def test_a_gateway_that_refuses_us_is_left_alone_for_long(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A hotkey that is not known is not known five seconds later either; the others are asked."""
    gateway.trouble["get_tasks"] = ["refused"] * 2
    async with Life(gateway, journal, time, urls=(URL, OTHER_URL)):
        await time.pass_(290)
        assert len(gateway.asked) == 2
        await time.pass_(60)
        assert len(gateway.asked) > 10


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"prompt": None}, "bad_option"),
        ({"image": "AAAA"}, "bad_option"),
        ({"prompt": "\x00"}, "bad_prompt"),
        ({"prompt": 5}, "bad_option"),
        ({"prompt": None, "image": "no base64!"}, "bad_image"),
        ({"prompt": None, "image": "QUFBQQ=="}, "bad_image"),
        ({"seed": "7"}, "bad_option"),
        ({"seed": 2**32}, "bad_option"),
        ({"seed": True}, "bad_option"),
        ({"model": "404-mesh"}, "bad_option"),
    ],
)
async def test_what_cannot_be_made_is_given_back_with_its_reason(
    gateway: HandGateway,
    journal: KeepingJournal,
    time: HandTime,
    content: dict[str, object],
    code: str,
) -> None:
    """A bad task costs no worker anything, and its gateway hears at once why."""
    task_id = gateway.offer(**content)
    async with Life(gateway, journal, time) as life:
        assert life.executor.begun == []

    (result,) = gateway.results[task_id]
    assert isinstance(result, Failure)
    assert result.code == code


async def test_a_refusal_of_the_queue_is_a_failure_at_once(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A task that could not be done in its ten minutes goes back to the gateway."""
    task_id = gateway.offer()
    life = Life(gateway, journal, time)
    life.executor.service_seconds_hint = 10_000.0
    async with life:
        await turns()

    (result,) = gateway.results[task_id]
    assert isinstance(result, Failure)
    assert result.code == "deadline_too_short"


async def test_a_failed_job_is_told_as_one(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """The worker's reason is the gateway's reason."""
    task_id = gateway.offer()
    async with Life(gateway, journal, time) as life:
        life.executor.fail(life.executor.begun[0].id, OutOfMemory("paint", "no memory left"))
        await turns()

    (result,) = gateway.results[task_id]
    assert result == Failure("out_of_memory", 500, "paint: no memory left")


async def test_a_result_is_brought_until_the_gateway_has_it(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """Busy gateways and lost answers cost time, never the result."""
    task_id = gateway.offer()
    gateway.trouble["add_result"] = ["busy", "busy", "lost", "busy"]
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await time.pass_(120)
        assert life.intake.owed == 0

    assert len(gateway.results[task_id]) == 2
    assert gateway.results[task_id][0] == gateway.results[task_id][1]
    assert len(life.executor.begun) == 1


async def test_a_result_that_nobody_wants_is_dropped(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A gateway that lost the task is not asked again."""
    gateway.offer()
    gateway.trouble["add_result"] = ["gone"]
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await time.pass_(120)
        assert (gateway.brought, life.intake.owed) == (1, 0)


async def test_after_a_tasks_life_its_result_is_dropped(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """Ten minutes of a gateway that is down, and the task is over."""
    gateway.offer()
    gateway.trouble["add_result"] = ["busy"] * 1000
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await time.pass_(599)
        assert life.intake.owed == 1
        await time.pass_(10)
        assert life.intake.owed == 0
        brought = gateway.brought
        await time.pass_(300)
        assert gateway.brought == brought
        assert life.calls.seen["add_result", "expired"] == 1


async def test_a_task_that_is_given_again_keeps_its_job_and_takes_the_new_token(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """Nothing is made twice, and the newest token is the one that vouches."""
    task_id = gateway.offer()
    async with Life(gateway, journal, time) as life:
        gateway.offer()
        gateway.waiting[0] = {**gateway.waiting[0], "id": task_id}
        first = gateway.given[task_id]
        await time.pass_(10)
        assert gateway.given[task_id] != first
        await life.finish_all()
        await turns()

    assert len(life.executor.begun) == 1
    assert len(gateway.results[task_id]) == 1


async def test_a_finished_task_that_is_given_again_is_answered_with_what_was_made(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """The kept result answers; where it is not kept any more, that is the reason of a failure."""
    task_id = gateway.offer()
    async with Life(gateway, journal, time) as life:
        content = {"id": task_id, "prompt": "a cube", "seed": 0}
        await life.finish_all()
        gateway.waiting.append(content)
        await time.pass_(10)
        journal.forgotten.add(life.executor.begun[0].id)
        gateway.waiting.append(content)
        await time.pass_(10)

    made, again, gone = gateway.results[task_id]
    assert isinstance(made, Asset)
    assert again == made
    assert isinstance(gone, Failure)
    assert len(life.executor.begun) == 1


async def test_a_restart_in_the_middle_of_the_work_changes_nothing(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """The next life does the job and brings it with the same token."""
    task_id = gateway.offer()
    async with Life(gateway, journal, time):
        pass
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await turns()

    assert [isinstance(one, Asset) for one in gateway.results[task_id]] == [True]


async def test_a_restart_before_the_result_was_brought_brings_it(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """What is done is brought by the next life, and not made again."""
    task_id = gateway.offer()
    gateway.trouble["add_result"] = ["busy"]
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
    async with Life(gateway, journal, time) as life:
        await turns()

    assert [isinstance(one, Asset) for one in gateway.results[task_id]] == [True]
    assert life.executor.begun == []


async def test_a_task_that_a_crash_took_goes_back(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """Of two tasks of one offer the second never became a job: its gateway hears that."""
    first, second = gateway.offer(), gateway.offer()
    async with Life(gateway, journal, time):
        del journal.jobs[next(k for k, (job, _) in journal.jobs.items() if second in job.task_id)]
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await turns()

    assert isinstance(gateway.results[first][0], Asset)
    assert gateway.results[second] == [
        Failure("cancelled", 503, "the worker was restarted before it had written the task down")
    ]


async def test_a_drain_leaves_what_is_not_done_to_the_next_life(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A stop that cannot wait tells the gateway nothing; what is done by then is brought."""
    done, waiting = gateway.offer(), gateway.offer()
    async with Life(gateway, journal, time) as life:
        life.executor.succeed(life.executor.begun[0].id)
        await turns()
        await life.queue.drain(0.0)
        await life.intake.settle(1.0)
        assert done in gateway.results
        assert waiting not in gateway.results
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await turns()

    assert isinstance(gateway.results[waiting][0], Asset)


async def test_a_disk_that_cannot_be_read_delays_a_result(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """The record of a known task is looked for until the disk answers."""
    task_id = gateway.offer()
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
    gateway.results.clear()
    gateway.waiting.append({"id": task_id, "prompt": "a cube", "seed": 0})
    journal.unreadable = True
    async with Life(gateway, journal, time):
        await time.pass_(30)
        assert gateway.results == {}
        journal.unreadable = False
        await time.pass_(30)

    assert isinstance(gateway.results[task_id][0], Asset)


async def test_what_is_owed_and_cannot_be_read_stops_nothing(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A damaged list of assignments is dropped, and new work is done."""
    journal.facts[KEY] = '[{"task_id": 1}, nonsense'
    task_id = gateway.offer()
    async with Life(gateway, journal, time) as life:
        await life.finish_all()
        await turns()

    assert task_id in gateway.results


async def test_the_status_says_how_it_is_with_each_gateway(
    gateway: HandGateway, journal: KeepingJournal, time: HandTime
) -> None:
    """A line counts the tasks and what is owed, and tells of trouble until the gateway answers."""
    gateway.trouble["get_tasks"] = ["busy"]
    async with Life(gateway, journal, time) as life:
        (line,) = life.intake.lines()
        assert (line["gateway"], line["failures"], line["tasks"]) == (URL, 1, 0)
        assert line["last_error"] and line["answer_age_seconds"] is None
        gateway.offer()
        await time.pass_(60)
        (line,) = life.intake.lines()
        assert (line["failures"], line["last_error"], line["tasks"]) == (0, "", 1)
        assert line["owed"] == 1 and line["answer_age_seconds"] is not None

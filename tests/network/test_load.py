"""Orders, loads and their figures, with a client that answers as it is told."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner import encoder
from miner.errors import BadAsset
from miner.network.load import Answer, LoadPlan, Order, Target, Validator, run_load, unpack
from miner.network.load_report import latencies, report, table
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import Synapse
from tests.encoder.splats import plausible

SPLAT = encoder.encode(plausible(7, 0), "spz")
RESULTS = base64.b64encode(SPLAT).decode()
TARGET = Target("127.0.0.1:1", "miner")


class FakeDendrite:
    """Answers by a function of the synapse; keeps what was sent."""

    hotkey = "validator"

    def __init__(self, respond: Callable[[Synapse], int]) -> None:
        self._respond = respond
        self.sent: list[Synapse] = []

    async def call(
        self, address: str, axon_hotkey: str, synapse: Synapse, limit_seconds: float
    ) -> Synapse:
        self.sent.append(synapse)
        reply = synapse.model_copy()
        reply.dendrite = reply.dendrite.model_copy()
        reply.dendrite.status_code = self._respond(reply)
        reply.dendrite.status_message = "because"
        return reply


class Clock:
    """Time that passes only in ``sleep``."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def validator(respond: Callable[[Synapse], int], **options: Any) -> Validator:
    """A validator whose client answers so, on a clock of its own."""
    return with_client(FakeDendrite(respond), **options)


def with_client(client: FakeDendrite, **options: Any) -> Validator:
    """The same, for a test that looks at what was sent."""
    clock = Clock()
    return Validator(client, TARGET, clock=clock, sleep=clock.sleep, **options)


async def test_a_delivered_splat_is_counted_in_its_file() -> None:
    """Gaussians and bytes are those of the file, whatever the reply says."""

    def respond(synapse: Synapse) -> int:
        assert isinstance(synapse, Generate3D)
        synapse.results, synapse.gaussians, synapse.generator = RESULTS, 1_000_000, "stub"
        return 200

    answer = await validator(respond).generate(Order("a cube", seed=3), 10.0)

    assert (answer.status, answer.gaussians, answer.size_bytes) == (200, 7, len(SPLAT))
    assert (answer.data, answer.generator) == (SPLAT, "stub")


async def test_load_generators_keep_no_files() -> None:
    """With ``keep_data`` off the figures stay and the bytes go."""

    def respond(synapse: Synapse) -> int:
        synapse.results = RESULTS
        return 200

    answer = await validator(respond, keep_data=False).generate(Order("a cube"), 10.0)

    assert answer.ok
    assert answer.data is None


@pytest.mark.parametrize("results", ["", None, "???", "QUJD", RESULTS[:-8]])
async def test_a_success_without_a_splat_is_none(results: str | None) -> None:
    """Rubbish delivered with status 200 counts as 422."""

    def respond(synapse: Synapse) -> int:
        synapse.results = results
        return 200

    answer = await validator(respond).generate(Order("a cube"), 10.0)

    assert answer.status == 422
    assert answer.message


async def test_a_refusal_is_passed_on() -> None:
    """Status and reason of the miner are the answer's."""
    answer = await validator(lambda synapse: 503).generate(Order("a cube"), 10.0)

    assert (answer.status, answer.message, answer.gaussians) == (503, "because", None)


async def test_a_pushed_task_is_polled_until_done() -> None:
    """The task's id is asked for until DONE; lost polls are repeated."""
    states = iter(
        [("IN QUEUE", 200), (None, 503), ("IN PROGRESS", 200), (None, 408), ("DONE", 200)]
    )

    def respond(synapse: Synapse) -> int:
        if isinstance(synapse, TGTask):
            synapse.status = "IN QUEUE"
            return 200
        assert isinstance(synapse, TGPoll)
        synapse.status, status = next(states)
        synapse.results = RESULTS if synapse.status == "DONE" else None
        return status

    client = FakeDendrite(respond)
    answer = await with_client(client).push(Order("a cube"), 60.0)

    task, *polls = client.sent
    assert answer.ok
    assert answer.seconds == 5.0
    assert {poll.task_id for poll in polls} == {task.task_id}


@pytest.mark.parametrize(
    ("word", "status"), [("FAILED", 500), ("NOT FOUND", 404), ("FORBIDDEN", 403)]
)
async def test_a_task_that_ends_badly_ends(word: str, status: int) -> None:
    """The words of a poll become statuses."""

    def respond(synapse: Synapse) -> int:
        synapse.status = word if isinstance(synapse, TGPoll) else "IN QUEUE"
        return 200

    answer = await validator(respond).push(Order("a cube"), 60.0)

    assert (answer.status, answer.message) == (status, word)


async def test_a_full_queue_is_no_task() -> None:
    """ERROR_QUEUE_FULL ends it at once."""

    def respond(synapse: Synapse) -> int:
        synapse.status = "ERROR_QUEUE_FULL"
        return 200

    client = FakeDendrite(respond)
    answer = await with_client(client).push(Order("a cube"), 60.0)

    assert answer.status == 503
    assert len(client.sent) == 1


async def test_a_task_that_never_ends_is_given_up() -> None:
    """After the limit the answer is 408."""

    def respond(synapse: Synapse) -> int:
        synapse.status = "IN PROGRESS" if isinstance(synapse, TGPoll) else "IN QUEUE"
        return 200

    answer = await validator(respond).push(Order("a cube"), 4.5)

    assert (answer.status, answer.seconds) == (408, 4.5)


@given(st.binary(max_size=300) | st.just(SPLAT[:-1]))
def test_no_results_make_it_raise_anything_else(data: bytes) -> None:
    """Whatever a miner sends either is a splat or is refused as one."""
    with pytest.raises(BadAsset):
        unpack(base64.b64encode(data).decode())


@given(requests=st.integers(1, 40), concurrency=st.integers(1, 50))
def test_a_load_sends_each_request_once(requests: int, concurrency: int) -> None:
    """Every number is sent once, answers keep the order, never more at once than allowed."""
    under_way, most, sent = 0, 0, []

    async def send(number: int) -> Answer:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        sent.append(number)
        await asyncio.sleep(0)
        under_way -= 1
        return Answer(str(number), "v", 200)

    answers = asyncio.run(run_load(send, LoadPlan(requests, concurrency)))

    assert sorted(sent) == list(range(requests))
    assert [int(answer.title) for answer in answers] == list(range(requests))
    assert most == min(requests, concurrency)


async def test_a_rate_spreads_the_load_and_counts_the_wait() -> None:
    """Requests begin when due; one that had to wait for a place is that much slower."""
    clock, begun = Clock(), []

    async def send(number: int) -> Answer:
        begun.append(clock())
        await clock.sleep(0.25 if number == 1 else 0.0)
        return Answer("a", "v", 200, seconds=0.25 if number == 1 else 0.0)

    plan = LoadPlan(requests=4, concurrency=1, per_second=10.0)
    answers = await run_load(send, plan, clock=clock, sleep=clock.sleep)

    assert begun == pytest.approx([0.0, 0.1, 0.35, 0.35])
    assert [answer.seconds for answer in answers] == pytest.approx([0.0, 0.25, 0.15, 0.05])


async def test_a_load_ends_with_the_first_error() -> None:
    """What ``send`` raises comes out as it is, and nothing is sent after it."""
    sent = []

    async def send(number: int) -> Answer:
        sent.append(number)
        await asyncio.sleep(0)
        raise BadAsset("no")

    with pytest.raises(BadAsset):
        await run_load(send, LoadPlan(100, 3))
    assert len(sent) == 3


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_are_values_that_occurred(seconds: list[float]) -> None:
    """By nearest rank: in order, among the values, the share at or below is reached."""
    figures = latencies(seconds)

    assert list(figures.values()) == sorted(figures.values())
    assert set(figures.values()) <= set(seconds)
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert sum(value <= figures[name] for value in seconds) >= share * len(seconds) - 1e-9


def test_a_report_tells_successes_from_refusals() -> None:
    """Latencies are those of the successes; statuses and reasons are counted."""
    answers = [Answer("a", "v", 200, seconds=s, gaussians=2, size_bytes=5) for s in (1.0, 3.0)]
    answers += [Answer("a", "v", 503, "full", seconds=0.001)] * 2

    figures = report(answers, 4.0)

    assert figures["statuses"] == {"200": 2, "503": 2}
    assert figures["latency_seconds"]["min"] == 1.0
    assert figures["messages"] == {"full": 2}
    assert (figures["ok"], figures["per_second"], figures["gaussians"]) == (2, 1.0, 4)


def test_a_table_has_a_line_for_each_answer() -> None:
    """Long, wide and hostile prompts stay in their column; what failed says why."""
    answers = [
        Answer("a red cube", "5Hpv", 200, seconds=1.5, gaussians=40_000, size_bytes=500_000),
        Answer("立方体" * 40, "5Hpv", 200),
        Answer("two\nlines\x1b[31m", "5Hpv", 503, "the queue\nis full"),
    ]

    lines = table(answers)

    assert len(lines) == 4
    assert "40,000" in lines[1]
    assert lines[3].endswith("the queue is full")
    assert all(line.isprintable() for line in lines)
    assert len({line.index("5Hpv") for line in (lines[1], lines[3])}) == 1


def test_an_empty_table_is_a_heading() -> None:
    """No answers are no fault."""
    assert len(table([])) == 1
    assert report([], 0.0)["per_second"] is None

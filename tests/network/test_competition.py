"""The contract of the competition of 2025, as its judges call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from miner import encoder
from miner.job import Asset, Failure, Job, Outcome
from miner.network import competition
from miner.network.competition import Competition
from tests.encoder.splats import plausible
from tests.network.operator_fakes import LIMITS, PNG, FakeView, client_of

SPLAT = plausible(50)
MADE = Asset(encoder.encode(SPLAT, "ply"), "ply", 50, "triposr", {"encode": 0.1})
NOW = 10.0


@dataclass
class Claim:
    job: Job
    queue: OnCommand

    async def outcome(self) -> Outcome:
        await self.queue.go.wait()
        return self.queue.result

    def leave(self) -> None:
        self.queue.left.set()


@dataclass
class OnCommand:
    """A queue whose jobs end when it is told to, all in the same way."""

    result: Outcome = MADE
    submitted: list[Job] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    accepting: bool = True

    async def submit(self, job: Job) -> Claim:
        self.submitted.append(job)
        self.came.set()
        return Claim(job, self)

    def snapshot(self) -> OnCommand:
        return self


@pytest.fixture
def view() -> FakeView:
    made = FakeView()
    made.queue = OnCommand()  # type: ignore[assignment]  # the other kind of fake
    made.queue.go.set()
    return made


@pytest_asyncio.fixture
async def judge(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    application = Competition(view, LIMITS, clock=lambda: NOW).application()
    async with client_of(application, view.metrics) as session:
        yield session


def question(seed: str | None = "4294967295", picture: bytes | None = PNG) -> aiohttp.FormData:
    """A form as the judges send it."""
    form = aiohttp.FormData(default_to_multipart=True)
    if picture is not None:
        form.add_field("prompt_image_file", picture, filename="p.jpg", content_type="image/jpeg")
    if seed is not None:
        form.add_field("seed", seed)
    return form


async def test_a_picture_and_a_seed_give_a_ply_in_their_frame(
    view: FakeView, judge: aiohttp.ClientSession
) -> None:
    """The answer is the splat turned by half about X, and the seed reaches the job."""
    async with judge.post("/generate", data=question()) as response:
        assert response.status == 200
        assert response.content_type == "application/octet-stream"
        splat = encoder.decode(await response.read())

    np.testing.assert_array_equal(splat.means, SPLAT.means * np.float32([1, -1, -1]))
    job = view.queue.submitted[0]
    assert (job.spec.image, job.spec.seed, job.spec.format) == (PNG, 2**32 - 1, "ply")
    assert job.intake == "competition"
    assert job.deadline == NOW + view.queue_settings.default_timeout_seconds
    assert view.journal.delivered == [job.id]


async def test_no_header_comes_before_the_result(
    view: FakeView, judge: aiohttp.ClientSession
) -> None:
    """The judges' clock stops at the header of the answer: it is sent when the splat is there."""
    view.queue.go.clear()
    asked = asyncio.create_task(judge.post("/generate", data=question()))
    await view.queue.came.wait()
    await asyncio.sleep(0)
    assert not asked.done()

    view.queue.go.set()
    response = await asked
    assert response.status == 200
    response.release()


async def test_one_is_worked_on_at_a_time(view: FakeView, judge: aiohttp.ClientSession) -> None:
    """A second request waits until the first has its splat, and then gets its own."""
    view.queue.go.clear()
    first = asyncio.create_task(judge.post("/generate", data=question("1")))
    await view.queue.came.wait()
    second = asyncio.create_task(judge.post("/generate", data=question("2")))
    async with judge.get("/health"):  # its connection came after the second's
        assert len(view.queue.submitted) == 1

    view.queue.go.set()
    for asked in (first, second):
        response = await asked
        assert response.status == 200
        response.release()
    assert [job.spec.seed for job in view.queue.submitted] == [1, 2]


async def test_a_judge_who_leaves_withdraws_the_job(
    view: FakeView, judge: aiohttp.ClientSession
) -> None:
    """An answer that nobody waits for any more is not made, and the next one begins."""
    view.queue.go.clear()
    asked = asyncio.create_task(judge.post("/generate", data=question("1")))
    await view.queue.came.wait()
    asked.cancel()
    await view.queue.left.wait()

    view.queue.go.set()
    async with judge.post("/generate", data=question("2")) as response:
        assert response.status == 200


async def test_health_is_said_in_their_words(view: FakeView, judge: aiohttp.ClientSession) -> None:
    """Healthy while work is taken, and 503 otherwise."""
    async with judge.get("/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "healthy"})
    view.queue.accepting = False
    async with judge.get("/health") as response:
        assert response.status == 503


@pytest.mark.parametrize(
    ("seed", "picture", "code"),
    [
        ("1", None, "bad_option"),
        ("x", PNG, "bad_option"),
        ("-1", PNG, "bad_option"),
        ("1", b"GIF89a", "bad_image"),
    ],
)
async def test_a_wrong_form_is_refused(
    view: FakeView,
    judge: aiohttp.ClientSession,
    seed: str,
    picture: bytes | None,
    code: str,
) -> None:
    """Without a picture, or with a bad one or a bad seed, there is a 400 and no job."""
    async with judge.post("/generate", data=question(seed, picture)) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == code
    assert view.queue.submitted == []


async def test_a_failure_is_told_as_one(view: FakeView, judge: aiohttp.ClientSession) -> None:
    """A job that failed is answered with its own status."""
    view.queue.result = Failure("bad_output", 500, "no surface")
    async with judge.post("/generate", data=question()) as response:
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "bad_output"


async def test_the_other_pages_are_not_on_that_port(judge: aiohttp.ClientSession) -> None:
    """The judges' port is open to the world: status, results and benchmark are not there."""
    for path in ("/status", "/results/" + "0" * 32, "/metrics"):
        async with judge.get(path) as response:
            assert response.status == 404
    async with judge.post("/benchmark") as response:
        assert response.status == 404


def test_a_file_larger_than_they_take_is_a_failure() -> None:
    """More than 200 MB would be cut off there: it is refused here."""
    assert competition.MAX_ANSWER_BYTES == 200_000_000
    with pytest.raises(competition.BadOutput):
        competition.in_their_frame(MADE, max_bytes=len(MADE.data) - 1)

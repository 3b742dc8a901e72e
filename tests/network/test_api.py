"""The HTTP API: both old contracts, results later, errors as JSON, and nobody's traceback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest
import pytest_asyncio

from miner.executor import WorkerHealth
from miner.job import MAIN, MAX_SEED, Asset
from miner.network.api import Api
from tests.network.operator_fakes import (
    FILE,
    JOB_ID,
    LIMITS,
    PNG,
    FakeRecord,
    FakeView,
    client_of,
)

NOW = 160.0


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest_asyncio.fixture
async def client(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    application = Api(view, LIMITS, clock=lambda: NOW).application()
    async with client_of(application, view.metrics) as session:
        yield session


async def error_of(response: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and code; and that there is a message of one line."""
    error = (await response.json())["error"]
    assert error["message"] and "\n" not in error["message"]
    assert set(error) == {"code", "message"}
    return response.status, error["code"]


@pytest.mark.parametrize("path", ["/generate", "/generate/"])
async def test_the_old_service_contract_holds(
    view: FakeView, client: aiohttp.ClientSession, path: str
) -> None:
    """An urlencoded prompt is answered with the raw file, with and without the slash."""
    async with client.post(path, data={"prompt": " a red  cube "}) as response:
        assert response.status == 200
        assert response.content_type == "application/octet-stream"
        assert await response.read() == FILE

    job = view.queue.submitted[0]
    assert job.spec.prompt == "a red cube"
    assert (job.spec.seed, job.spec.format, job.requester, job.intake) == (0, "ply", "local", "api")
    assert job.deadline == NOW + view.queue_settings.default_timeout_seconds
    assert response.headers["Miner-Job"] == job.id
    assert response.headers["Miner-Gaussians"] == "1234"
    assert view.journal.delivered == [job.id]


async def test_the_competition_contract_holds(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """A multipart picture with a seed is answered with the raw file."""
    form = aiohttp.FormData()
    form.add_field("prompt_image_file", PNG, filename="a.png", content_type="image/png")
    form.add_field("seed", str(MAX_SEED))

    async with client.post("/generate", data=form) as response:
        assert response.status == 200
        assert await response.read() == FILE

    assert view.queue.submitted[0].spec.image == PNG
    assert view.queue.submitted[0].spec.seed == MAX_SEED


async def test_options_of_the_form_reach_the_job(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """Seed, format and timeout are the caller's, the timeout up to what is allowed."""
    data = {"prompt": "a cube", "seed": "7", "format": "spz", "timeout": "2.5"}
    async with client.post("/generate", data=data) as response:
        assert response.headers["Content-Disposition"].endswith('.spz"')
    async with client.post("/generate", data=data | {"timeout": "999999"}):
        pass

    first, second = view.queue.submitted
    assert (first.spec.seed, first.spec.format, first.deadline) == (7, "spz", NOW + 2.5)
    assert second.deadline == NOW + view.queue_settings.max_timeout_seconds


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({}, 400, "bad_option"),
        ({"seed": "1"}, 400, "bad_option"),
        ({"prompt": ""}, 400, "bad_prompt"),
        ({"prompt": "a\x00b"}, 400, "bad_prompt"),
        ({"prompt": "x" * 1025}, 400, "bad_prompt"),
        ({"prompt": "x" * 70_000}, 413, "too_large"),
        ({"prompt": "a", "seed": "-1"}, 400, "bad_option"),
        ({"prompt": "a", "seed": str(MAX_SEED + 1)}, 400, "bad_option"),
        ({"prompt": "a", "seed": "\u0661"}, 400, "bad_option"),
        ({"prompt": "a", "format": "glb"}, 400, "bad_option"),
        ({"prompt": "a", "timeout": "0"}, 400, "bad_option"),
        ({"prompt": "a", "timeout": "nan"}, 400, "bad_option"),
        ([("prompt", "a"), ("prompt", "b")], 400, "malformed"),
        ({"prompt": "full"}, 503, "queue_full"),
        ({"prompt": "late"}, 504, "deadline_exceeded"),
        (b"prompt=%ff", 400, "malformed"),
        ({"prompt": "a", "prompt_image_file": BytesIO(b"GIF89a")}, 400, "bad_option"),
        ({"prompt_image_file": BytesIO(b"GIF89a")}, 400, "bad_image"),
        ({"prompt_image_file": BytesIO(b"")}, 400, "bad_image"),
        ({"prompt_image_file": BytesIO(bytes(LIMITS.max_body_bytes))}, 413, "too_large"),
    ],
)
async def test_a_wrong_order_is_refused_with_its_reason(
    view: FakeView, client: aiohttp.ClientSession, data: object, status: int, code: str
) -> None:
    """Each fault has its own status and code as JSON, and nothing is queued for it."""
    headers = {}
    if isinstance(data, bytes):
        headers["Content-Type"] = "application/x-www-form-urlencoded"

    async with client.post("/generate", data=data, headers=headers) as response:
        assert await error_of(response) == (status, code)
    assert [job.spec.prompt for job in view.queue.submitted] in ([], ["late"])


async def test_json_and_compressed_bodies_are_refused(client: aiohttp.ClientSession) -> None:
    """Only forms go in, and only as they are."""
    async with client.post("/generate", json={"prompt": "a"}) as response:
        assert await error_of(response) == (400, "malformed")
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    async with client.post("/generate", data=b"\x1f\x8b", headers=headers) as response:
        assert await error_of(response) == (400, "malformed")


async def test_a_full_queue_says_when_to_come_back(client: aiohttp.ClientSession) -> None:
    """A refusal for want of room names a time."""
    async with client.post("/generate", data={"prompt": "full"}) as response:
        assert int(response.headers["Retry-After"]) > 0


async def test_our_own_fault_tells_nothing_private(
    view: FakeView, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw is a 500 with an id, without the exception's text, and is counted."""
    async with client.post("/generate", data={"prompt": "fault"}) as response:
        assert await error_of(response) == (500, "internal")
        assert "secret" not in await response.text()
    labels = {"server": "api", "route": "/generate", "status": "500"}
    assert view.metrics.registry.get_sample_value("miner_http_requests_total", labels) == 1


async def test_a_client_that_leaves_withdraws_its_job(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """When the connection closes, the ticket is left."""
    asking = asyncio.ensure_future(client.post("/generate", data={"prompt": "wait"}))
    await view.queue.waiting.wait()
    asking.cancel()

    async with asyncio.timeout(60):
        await view.queue.was_left.wait()
    assert view.queue.left == [view.queue.submitted[0].id]
    assert view.journal.delivered == []


async def test_a_result_can_be_fetched_later(view: FakeView, client: aiohttp.ClientSession) -> None:
    """With respond-async the job is a promise, and its result is at the Location."""
    headers = {"Prefer": "wait=5, respond-async"}
    async with client.post("/generate", data={"prompt": "a"}, headers=headers) as response:
        assert response.status == 202
        assert (await response.json())["state"] == "queued"
        place = response.headers["Location"]
    job = view.queue.submitted[0]
    assert job.promised and place == f"/results/{job.id}"

    view.journal.records[job.id] = FakeRecord(job.id, state="running")
    async with client.get(place) as response:
        assert (response.status, (await response.json())["state"]) == (202, "running")

    view.journal.records[job.id] = FakeRecord(job.id)
    view.journal.assets[job.id] = Asset(FILE, "ply", 1, "triposr", {})
    async with client.get(place) as response:
        assert (response.status, await response.read()) == (200, FILE)
    assert view.journal.delivered == [job.id]


async def test_looking_at_a_result_of_another_does_not_deliver_it(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """The operator may fetch what a validator ordered; the validator has not got it by that."""
    view.journal.records[JOB_ID] = FakeRecord(requester="5Fvalidator")
    view.journal.assets[JOB_ID] = Asset(FILE, "spz", 1, "triposr", {})

    async with client.get(f"/results/{JOB_ID}") as response:
        assert response.status == 200
    assert view.journal.delivered == []


@pytest.mark.parametrize(
    ("record", "status", "code"),
    [
        (None, 404, "not_found"),
        (FakeRecord(), 404, "not_found"),
        (
            FakeRecord(state="failed", code="bad_output", message="no", status=500),
            500,
            "bad_output",
        ),
        (FakeRecord(state="failed"), 500, "job"),
    ],
)
async def test_a_result_that_is_not_there_says_why(
    view: FakeView,
    client: aiohttp.ClientSession,
    record: FakeRecord | None,
    status: int,
    code: str,
) -> None:
    """Unknown, forgotten and failed jobs are told apart."""
    if record is not None:
        view.journal.records[JOB_ID] = record
    async with client.get(f"/results/{JOB_ID}") as response:
        assert await error_of(response) == (status, code)


async def test_the_benchmark_measures_a_job_of_its_own(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """It runs a fixed prompt through the queue, with a seed nobody else has."""
    for _ in range(2):
        async with client.post("/benchmark") as response:
            report = await response.json()
    assert report["timings"] == {"reconstruct": 0.25, "encode": 0.5}
    assert (report["gaussians"], report["bytes"]) == (1234, len(FILE))
    first, second = view.queue.submitted
    assert first.intake == "benchmark" and first.spec.seed != second.spec.seed


async def test_status_tells_everything_but_prompts(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """One document holds the queue, the workers, the journal, the peers and the counters."""
    view.metrics.job_accepted(MAIN, "api")
    async with client.get("/status") as response:
        status = json.loads(await response.text())
    assert status["uptime_seconds"] == 60.0
    assert status["ready"] is True and status["reasons"] == []
    assert status["queue"]["jobs"] == [
        {"id": JOB_ID, "state": "running", "stage": "text_to_image", "steps": [1, 4]}
    ]
    assert status["workers"][0]["pid"] == 4321
    assert status["journal"]["unfinished"] == 1
    assert status["peers"] == {"count": 1, "age_seconds": 0.0}
    assert status["counters"]["jobs_accepted"] == 1


async def test_health_follows_readiness(view: FakeView, client: aiohttp.ClientSession) -> None:
    """/health has the word both callers look for, and is no 200 while no work is taken."""
    async with client.get("/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "healthy"})
    view.executor.workers = (WorkerHealth("0", "restarting"),)
    async with client.get("/health") as response:
        assert response.status == 503


async def test_unknown_pages_and_methods_are_errors_as_json(
    client: aiohttp.ClientSession,
) -> None:
    """404 and 405 look like every other error."""
    async with client.get("/results/../../etc/passwd") as response:
        assert await error_of(response) == (404, "not_found")
    async with client.get("/results/NOT-AN-ID") as response:
        assert await error_of(response) == (404, "not_found")
    async with client.get("/generate") as response:
        assert await error_of(response) == (405, "method_not_allowed")
        assert response.headers["Allow"] == "POST"


async def test_pages_of_other_sites_are_refused(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """A browser's cross-site request does nothing; one of our own origin does."""
    for origin in ("https://evil.example", "null", "http://[bad"):
        async with client.post(
            "/generate", data={"prompt": "a"}, headers={"Origin": origin}
        ) as response:
            assert await error_of(response) == (403, "not_permitted")
    assert view.queue.submitted == []
    host = response.url.host, response.url.port
    ours = {"Origin": f"http://{host[0]}:{host[1]}"}
    async with client.post("/generate", data={"prompt": "a"}, headers=ours) as response:
        assert response.status == 200


async def test_requests_are_counted_by_pattern(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """The route label is the pattern, and one word for everything unknown."""
    for path in (f"/results/{JOB_ID}", "/results/" + "f" * 32, "/nothing", "/else"):
        async with client.get(path):
            pass
    sample = view.metrics.registry.get_sample_value
    route = "/results/{id}"
    labels = {"server": "api", "route": route, "status": "404"}
    assert sample("miner_http_requests_total", labels) == 2
    assert sample("miner_http_requests_total", labels | {"route": "other"}) == 2

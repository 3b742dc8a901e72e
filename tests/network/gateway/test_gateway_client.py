"""The client of the gateways against one that is strict, over real sockets; and that gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from miner.admission.signature import new_hotkey
from miner.errors import ConfigError, GatewayRefused, GatewayUnavailable
from miner.job import Asset, Failure, JobSpec
from miner.metrics import Metrics
from miner.network.gateway.client import MAX_RESULT_BYTES, GatewayClient
from miner.network.gateway.messages import Assignment, GatewayTask, Signed, read_spec
from miner.network.gateway.stand_in import StandIn, Task
from miner.network.server import serve
from miner.settings import load
from miner.settings.gateway import GatewaySettings
from miner.settings.listening import ListenLimits
from tests.network.operator_fakes import PNG

WORKER = new_hotkey(b"w" * 32)
STRANGER = new_hotkey(b"s" * 32)
SPLAT = Asset(b"NGSP" * 1000, "spz", 12, "triposr", {})
SETTINGS = GatewaySettings(tags=("h200",), call_seconds=5.0)


class Watch:
    """Unix seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def gateway(watch: Watch) -> StandIn:
    return StandIn(wall_clock=watch)


@asynccontextmanager
async def served(application: web.Application | Any) -> AsyncIterator[str]:
    """Where it listens."""
    limits = ListenLimits(max_body_bytes=200 * 2**20)
    async with serve(
        application, name="gateway", host="127.0.0.1", port=0, limits=limits, metrics=Metrics()
    ) as listening:
        yield listening.url


@pytest_asyncio.fixture
async def url(gateway: StandIn) -> AsyncIterator[str]:
    async with served(gateway.application()) as address:
        yield address


@pytest_asyncio.fixture
async def client(watch: Watch) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(WORKER, SETTINGS, watch) as entered:
        yield entered


def ours(task: Task, url: str, **changes: Any) -> Assignment:
    """The assignment of a task that was handed out to us."""
    token = task.tokens.get(WORKER.ss58_address, str(uuid4()))
    values = {"task_id": task.id, "token": token, "url": url, "job_id": "0", "expires_at": 0.0}
    return Assignment(**(values | changes))


async def test_tasks_come_with_all_they_say(
    client: GatewayClient, gateway: StandIn, url: str
) -> None:
    """Prompt and seed, picture and seed; no more than were asked for, none twice."""
    words = gateway.add(prompt="a red cube", seed=-5)
    picture = gateway.add(image=base64.b64encode(PNG).decode(), seed=2**31 - 1)
    gateway.add(prompt="one more")

    offer = await client.get_tasks(url, 2)
    assert [str(task.id) for task in offer.tasks] == [words.id, picture.id]
    first, second = [await read_spec(task, "404-3dgs", "spz") for task in offer.tasks]
    assert first == JobSpec(prompt="a red cube", seed=2**32 - 5, format="spz")
    assert second == JobSpec(image=PNG, seed=2**31 - 1, format="spz")
    assert str(offer.tasks[0].assignment_token) == words.tokens[WORKER.ss58_address]
    assert len((await client.get_tasks(url, 2)).tasks) == 1
    assert (await client.get_tasks(url, 2)).tasks == ()


async def test_a_result_is_taken_as_it_was_made(
    client: GatewayClient, gateway: StandIn, url: str
) -> None:
    """The asset's bytes arrive with everything that vouches for them before it; twice is once."""
    task = gateway.add(prompt="a red cube")
    await client.get_tasks(url, 1)
    await client.add_result(ours(task, url), SPLAT)
    await client.add_result(ours(task, url), SPLAT)

    (result,) = task.results.values()
    assert (result.status, result.asset, result.worker_id) == ("success", SPLAT.data, "splat-miner")


async def test_a_failure_is_told_with_a_reason_of_their_length(
    client: GatewayClient, gateway: StandIn, url: str
) -> None:
    """At most 255 bytes of whole characters."""
    task = gateway.add(prompt="a red cube")
    await client.get_tasks(url, 1)
    await client.add_result(ours(task, url), Failure("bad_output", 500, "ü" * 300))

    (result,) = task.results.values()
    assert result.status == "failure"
    assert result.reason is not None
    assert result.reason.startswith("bad_output: üü")
    assert len(result.reason.encode()) in (254, 255)


async def test_a_result_that_is_too_large_is_a_failure(
    client: GatewayClient, gateway: StandIn, url: str
) -> None:
    """More than a gateway takes is not sent at all: it hears why there is nothing."""
    task = gateway.add(prompt="a red cube")
    await client.get_tasks(url, 1)
    huge = Asset(bytes(MAX_RESULT_BYTES + 1), "spz", 12, "triposr", {})
    await client.add_result(ours(task, url), huge)

    (result,) = task.results.values()
    assert result.reason is not None
    assert result.reason.startswith("too_large")


async def test_the_signature_is_over_a_moment_just_gone(watch: Watch) -> None:
    """Two seconds back: a clock of ours that runs a little ahead is no reason to be refused."""
    assert Signed.now(WORKER, watch()).timestamp == f"404_GATEWAY_{int(watch.now) - 2}"


@pytest.mark.parametrize(("ahead", "fine"), [(-25, True), (1.5, True), (5, False), (-40, False)])
async def test_clocks_may_differ_a_little(
    gateway: StandIn, url: str, watch: Watch, ahead: float, fine: bool
) -> None:
    """A gateway that finds our moment too old or in its future can be asked again later."""
    async with GatewayClient(WORKER, SETTINGS, lambda: watch.now + ahead) as client:
        if fine:
            await client.get_tasks(url, 1)
        else:
            with pytest.raises(GatewayUnavailable):
                await client.get_tasks(url, 1)


async def test_a_hotkey_that_is_not_let_in_is_refused(watch: Watch) -> None:
    """Where workers are listed and we are not, the answer is final."""
    listed = frozenset({STRANGER.ss58_address})
    gateway = StandIn(whitelist=listed, wall_clock=watch)
    async with served(gateway.application()) as url, GatewayClient(WORKER, SETTINGS, watch) as us:
        with pytest.raises(GatewayRefused, match="401"):
            await us.get_tasks(url, 1)


@pytest.mark.parametrize("change", [{"task_id": str(uuid4())}, {"token": str(uuid4())}])
async def test_a_result_for_a_task_that_is_not_ours_is_refused(
    client: GatewayClient, gateway: StandIn, url: str, change: dict[str, str]
) -> None:
    """A task that the gateway does not know, and one whose token is another."""
    task = gateway.add(prompt="a red cube")
    await client.get_tasks(url, 1)
    with pytest.raises(GatewayRefused):
        await client.add_result(ours(task, url, **change), SPLAT)

    assert task.results == {}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (408, GatewayUnavailable),
        (429, GatewayUnavailable),
        (500, GatewayUnavailable),
        (503, GatewayUnavailable),
        (400, GatewayRefused),
        (403, GatewayRefused),
        (410, GatewayRefused),
        (413, GatewayRefused),
    ],
)
async def test_statuses_say_whether_to_try_again(
    client: GatewayClient, gateway: StandIn, url: str, status: int, error: type[Exception]
) -> None:
    """What may pass is unavailable, what will not is refused; both quote status and words."""
    task = gateway.add(prompt="a red cube")
    gateway.faults["get_tasks"] = [status]
    with pytest.raises(error, match=str(status)):
        await client.get_tasks(url, 1)
    await client.get_tasks(url, 1)
    gateway.faults["add_result"] = [status]
    with pytest.raises(error, match="as it was ordered"):
        await client.add_result(ours(task, url), SPLAT)
    await client.add_result(ours(task, url), SPLAT)


def answering(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> Any:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return await answer(request)

    return handle


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no json",
        b"[]",
        b'{"gateways": []}',
        b'{"tasks": 5}',
        b"[" * 200_000,
        b"\xff\xfe",
        bytes(8 * 2**20),
    ],
)
async def test_an_answer_that_is_no_offer_is_trouble(client: GatewayClient, answer: bytes) -> None:
    """Garbage, however large or deep, becomes one error of ours, in one line."""

    async def garbage(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=answer)

    async with served(answering(garbage)) as url:
        with pytest.raises(GatewayUnavailable) as caught:
            await client.get_tasks(url, 1)
    assert "\n" not in str(caught.value)


async def test_of_a_mixed_offer_the_readable_tasks_are_taken(client: GatewayClient) -> None:
    """A task without a good id or token is counted and left."""
    good = {"id": str(uuid4()), "assignment_token": str(uuid4()), "prompt": "a cube", "more": 1}
    tasks = [good, {**good, "id": "5"}, {"id": str(uuid4())}, None, "task"]

    async def mixed(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"tasks": tasks, "gateways": None})

    async with served(answering(mixed)) as url:
        offer = await client.get_tasks(url, 5)
    assert [str(task.id) for task in offer.tasks] == [good["id"]]
    assert offer.unreadable == 4


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("99999", 600.0), ("soon", 0.0)])
async def test_a_gateway_says_when_to_come_again(
    client: GatewayClient, text: str, seconds: float
) -> None:
    """Retry-After is heard where it is a number, and believed up to ten minutes."""

    async def busy(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": text})

    async with served(answering(busy)) as url:
        with pytest.raises(GatewayUnavailable) as caught:
            await client.get_tasks(url, 1)
    assert caught.value.retry_seconds == seconds


async def test_a_slow_gateway_is_given_up(watch: Watch) -> None:
    """A call ends at its limit."""

    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    settings = GatewaySettings(call_seconds=0.05)
    async with served(never) as url, GatewayClient(WORKER, settings, watch) as client:
        with pytest.raises(GatewayUnavailable, match="longer than"):
            await client.get_tasks(url, 1)


@pytest.mark.parametrize("headers", [{"Location": "/x"}, {"Content-Encoding": "gzip"}])
async def test_redirects_and_encodings_are_not_followed(
    client: GatewayClient, headers: dict[str, str]
) -> None:
    """Our signature goes to the gateway that was named, and nothing is unpacked unasked."""

    async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
        status = 307 if "Location" in headers else 200
        return web.Response(status=status, headers=headers, body=b"{}")

    async with served(answering(elsewhere)) as url:
        with pytest.raises((GatewayRefused, GatewayUnavailable)):
            await client.get_tasks(url, 1)


async def test_nobody_there_is_trouble(client: GatewayClient) -> None:
    """A refused connection is an error of ours."""
    with pytest.raises(GatewayUnavailable):
        await client.get_tasks("http://127.0.0.1:1", 1)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate that signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not here")
    key, made = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, made


async def test_a_certificate_is_checked(
    gateway: StandIn, watch: Watch, certificate: tuple[Path, Path]
) -> None:
    """A gateway whose certificate nobody signed gets no signature; one that we trust does."""
    key, made = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made, key)
    runner = web.AppRunner(gateway.application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        async with GatewayClient(WORKER, SETTINGS, watch) as client:
            with pytest.raises(GatewayUnavailable, match="certificate"):
                await client.get_tasks(url, 1)
        trusting = ssl.create_default_context(cafile=str(made))
        async with GatewayClient(WORKER, SETTINGS, watch, trusting) as client:
            assert (await client.get_tasks(url, 1)).tasks == ()
    finally:
        await runner.cleanup()
    assert gateway.calls == [("get_tasks", 200)]


# The stand-in is as strict as the real one


def fields_of(task: Task, watch: Watch) -> list[tuple[str, str]]:
    """A good result's fields, in a good order."""
    signed = Signed.now(WORKER, watch())
    return [
        ("id", task.id),
        ("signature", signed.signature),
        ("timestamp", signed.timestamp),
        ("worker_hotkey", WORKER.ss58_address),
        ("worker_id", "one"),
        ("assignment_token", task.tokens[WORKER.ss58_address]),
        ("status", "success"),
        ("asset", "splat"),
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda fields: fields, 200),
        (lambda fields: [fields[-1], *fields[:-1]], 400),
        (lambda fields: [*fields[:6], fields[7], fields[6]], 400),
        (lambda fields: [*fields, fields[0]], 400),
        (lambda fields: fields[1:], 400),
        (lambda fields: [*fields[:2], *fields[3:]], 400),
        (lambda fields: [*fields, ("surprise", "x")], 400),
        (lambda fields: [*fields[:6], ("status", "failure"), fields[7]], 400),
        (lambda fields: [*fields[:6], ("status", "failure")], 400),
        (lambda fields: [*fields[:6], ("status", "failure"), ("reason", "x" * 256)], 400),
        (lambda fields: [*fields[:6], ("status", "failure"), ("reason", "x" * 255)], 200),
        (lambda fields: [*fields[:6], ("status", "done"), fields[7]], 400),
        (lambda fields: [*fields[:3], ("worker_hotkey", STRANGER.ss58_address), *fields[4:]], 500),
        (lambda fields: [fields[0], ("signature", "AAAA"), *fields[2:]], 500),
        (lambda fields: [*fields[:2], ("timestamp", "404_GATEWAY_x"), *fields[3:]], 500),
    ],
)
async def test_the_stand_in_is_strict_about_results(
    client: GatewayClient,
    gateway: StandIn,
    watch: Watch,
    url: str,
    change: Callable[[list[tuple[str, str]]], list[tuple[str, str]]],
    status: int,
) -> None:
    """Each field once, none unknown, the asset after all that vouches for it, who signs is who."""
    task = gateway.add(prompt="a red cube")
    await client.get_tasks(url, 1)
    form = aiohttp.FormData(default_to_multipart=True)
    for name, text in change(fields_of(task, watch)):
        form.add_field(name, text)

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/add_result", data=form) as a,
    ):
        assert a.status == status, await a.text()
    assert bool(task.results) == (status == 200)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"model": ["404-3dgs"]}, 200),
        ({"model": "404-mesh"}, 400),
        ({"model": []}, 400),
        ({"worker_tags": ["Ä"]}, 400),
        ({"worker_id": None, "timestamp": 5}, 400),
        ({"worker_hotkey": "5Hot"}, 400),
        ({"requested_task_count": "many"}, 400),
    ],
)
async def test_the_stand_in_is_strict_about_questions(
    gateway: StandIn, watch: Watch, url: str, change: dict[str, Any], status: int
) -> None:
    """What the real one refuses is refused."""
    signed = Signed.now(WORKER, watch())
    question = {
        "worker_hotkey": WORKER.ss58_address,
        "worker_id": "one",
        "timestamp": signed.timestamp,
        "signature": signed.signature,
        "requested_task_count": 1,
        "model": "404-3dgs",
        **change,
    }
    body = json.dumps(question)
    async with aiohttp.ClientSession() as session, session.post(f"{url}/get_tasks", data=body) as a:
        assert a.status == status, await a.text()


async def test_a_task_goes_to_three_workers_at_most(
    gateway: StandIn, watch: Watch, url: str
) -> None:
    """Whoever comes fourth gets nothing, and a task with a result goes to nobody else."""
    gateway.add(prompt="a red cube")
    got = []
    for number in range(5):
        hotkey = new_hotkey(bytes([number]) * 32)
        async with GatewayClient(hotkey, SETTINGS, watch) as worker:
            got.append(len((await worker.get_tasks(url, 1)).tasks))
    assert got == [1, 1, 1, 0, 0]


# Settings


@pytest.mark.parametrize(
    "urls",
    [
        '["gateway-eu.404.xyz"]',
        '["http://gateway-eu.404.xyz:4443"]',
        '["https://gateway-eu.404.xyz:4443/get_tasks"]',
        '["https://a", "https://a"]',
        '["ftp://127.0.0.1"]',
        '["https://user:secret@a"]',
    ],
)
def test_addresses_that_are_none_are_refused(urls: str) -> None:
    """Only https, or one's own host, with a port and nothing after it."""
    with pytest.raises(ConfigError, match=r"gateway\.urls"):
        load(environ={"MINER_GATEWAY__URLS": urls})


def test_tags_are_as_gateways_take_them() -> None:
    """Small letters, digits, dashes and underscores, 32 at most."""
    with pytest.raises(ConfigError, match=r"gateway\.tags"):
        load(environ={"MINER_GATEWAY__TAGS": '["H200"]'})


async def test_a_task_of_another_model_is_not_made() -> None:
    """None is any; another than ours is refused."""
    values = {"id": uuid4(), "assignment_token": uuid4(), "prompt": "a cube"}
    spec = await read_spec(GatewayTask(**values), "404-3dgs", "ply")
    assert spec == JobSpec(prompt="a cube", format="ply")

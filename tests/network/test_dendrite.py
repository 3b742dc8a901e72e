"""The signed client: what it sends, what it makes of every answer, and what it does not believe."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from bittensor_core import Keypair, verify
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miner.errors import MalformedRequest
from miner.network.dendrite import Dendrite
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import Synapse

ME = Keypair.create_from_uri("//Validator")
MINER = Keypair.create_from_uri("//Miner").ss58_address

Write = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """One request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class FakeAxon:
    """Answers every request with the same bytes, or leaves the connection to a script."""

    answer: bytes | Write
    address: str = ""
    requests: list[Request] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            self.requests.append(await _read(reader))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.strip().split("\r\n")
    headers = dict(entry.split(": ", 1) for entry in rest)
    body = await reader.readexactly(int(headers["Content-Length"]))
    return Request(line, headers, json.loads(body))


@asynccontextmanager
async def axon(answer: bytes | Write) -> AsyncIterator[FakeAxon]:
    """Listens until the block ends."""
    fake = FakeAxon(answer)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    async with server:
        fake.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield fake


def http(
    body: bytes | object, status: int = 200, kind: str = "application/json", **headers: str
) -> bytes:
    """A whole reply."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": kind, "Content-Length": str(len(data)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data


def success(**fields: object) -> bytes:
    """What an axon says when all is well."""
    code = {"bt_header_axon_status_code": "200", "bt_header_axon_status_message": "Success"}
    return http(fields, **code)


async def call(answer: bytes | Write, synapse: Synapse | None = None, **options: Any) -> Any:
    """One call to an axon that gives this answer."""
    seconds = options.pop("timeout", 10.0)
    async with axon(answer) as fake, Dendrite(ME, **options) as dendrite:
        return await dendrite.call(fake.address, MINER, synapse or Generate3D(prompt="a"), seconds)


async def test_the_request_is_signed_for_its_receiver() -> None:
    """The signature verifies over nonce, both hotkeys, uuid and the hash of the body's fields."""
    synapse = Generate3D(prompt="a cube", seed=3)
    async with axon(success()) as fake, Dendrite(ME, wall_clock_ns=lambda: 1234) as dendrite:
        await dendrite.call(fake.address, MINER, synapse, 7.5)

    request = fake.requests[0]
    sent = {k.removeprefix("bt_header_dendrite_"): v for k, v in request.headers.items()}
    message = f"1234.{ME.ss58_address}.{MINER}.{sent['uuid']}.{synapse.body_hash}"
    assert request.line == "POST /Generate3D HTTP/1.1"
    assert sent["nonce"] == "1234"
    assert sent["hotkey"] == ME.ss58_address
    assert request.headers["bt_header_axon_hotkey"] == MINER
    assert request.headers["computed_body_hash"] == synapse.body_hash
    assert request.headers["timeout"] == "7.5"
    assert request.headers["Content-Type"] == "application/json"
    assert verify(message.encode(), bytes.fromhex(sent["signature"][2:]), ME.ss58_address)


async def test_the_body_says_the_same_as_the_headers() -> None:
    """Miners and validators of the subnet read the hotkeys from the body."""
    async with axon(success()) as fake, Dendrite(ME) as dendrite:
        await dendrite.call(fake.address, MINER, TGTask(prompt="é", task_id="1"), 3.0)

    request = fake.requests[0]
    assert request.body["dendrite"]["hotkey"] == ME.ss58_address
    assert request.body["axon"]["hotkey"] == MINER
    assert request.body["timeout"] == 3.0
    assert request.body["prompt"] == "é"
    assert request.headers["bt_header_input_obj_prompt"] == "IiI="


async def test_no_two_requests_share_a_uuid() -> None:
    """Requests that overtake each other are never taken for replays."""
    async with axon(success()) as fake, Dendrite(ME) as dendrite:
        calls = (dendrite.call(fake.address, MINER, TGPoll(task_id="1")) for _ in range(8))
        await asyncio.gather(*calls)

    assert len({request.headers["bt_header_dendrite_uuid"] for request in fake.requests}) == 8


async def test_the_callers_synapse_stays_as_it_is() -> None:
    """One synapse may be sent to many miners."""
    synapse = Generate3D(prompt="a cube")
    before = synapse.model_dump()

    await call(success(results="QUJD"), synapse)

    assert synapse.model_dump() == before


async def test_a_success_brings_content_and_status() -> None:
    """Fields of the body are in the answer, the status on both ends, how long it took on ours."""
    times = iter([10.0, 12.5])

    answer = await call(success(results="QUJD", gaussians=3), clock=lambda: next(times))

    assert (answer.results, answer.gaussians) == ("QUJD", 3)
    assert answer.axon.status_code == answer.dendrite.status_code == 200
    assert answer.dendrite.status_message == "Success"
    assert answer.dendrite.process_time == 2.5


async def test_a_success_without_any_status_is_one() -> None:
    """Where an axon leaves the status out, HTTP's counts."""
    answer = await call(http({"results": "QUJD"}))

    assert answer.dendrite.status_code == 200


async def test_the_status_of_the_body_counts_where_headers_have_none() -> None:
    """Proxies drop headers with underscores; the body says the same."""
    answer = await call(http({"axon": {"status_code": 503, "status_message": "full"}}))

    assert answer.dendrite.status_code == 503
    assert answer.dendrite.status_message == "full"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 500, 503, 504])
async def test_a_refusal_brings_its_status_and_reason(status: int) -> None:
    """The status of a refusal and its message stand on both ends; the content is what was sent."""
    answer = await call(http({"message": "because"}, status))

    for end in (answer.axon, answer.dendrite):
        assert (end.status_code, end.status_message) == (status, "because")
    assert answer.prompt == "a"
    assert answer.results is None


async def test_an_axon_cannot_rename_anybody() -> None:
    """What a reply says of the caller, or of the axon's own hotkey and address, is ignored."""
    liar = {"hotkey": "liar", "ip": "8.8.8.8", "port": 1, "uuid": "u", "signature": "s"}
    body = {"dendrite": liar | {"nonce": 1}, "axon": liar, "timeout": 999.0}
    lies = {"bt_header_dendrite_hotkey": "liar", "bt_header_axon_hotkey": "liar"}
    async with axon(http(body, **lies)) as fake, Dendrite(ME) as dendrite:
        answer = await dendrite.call(fake.address, MINER, Generate3D(prompt="a"), 5.0)

    assert answer.dendrite.hotkey == ME.ss58_address
    assert answer.dendrite.uuid == fake.requests[0].headers["bt_header_dendrite_uuid"]
    assert answer.axon.hotkey == MINER
    assert f"{answer.axon.ip}:{answer.axon.port}" == fake.address
    assert answer.timeout == 5.0


@pytest.mark.parametrize(
    "reply",
    [
        http(b"<html>", kind="text/html"),
        http(b"<html>", 502, kind="text/html"),
        http(b"{"),
        http(b"[]"),
        http(b"[]", 500),
        http(b""),
        http({"seed": "many"}),
        http({"results": 7}),
        http({}, bt_header_axon_status_code="fine"),
        http(gzip.compress(b"{}"), **{"Content-Encoding": "gzip"}),
        http(b"\xff\xfe"),
    ],
)
async def test_what_is_no_reply_is_unusable(reply: bytes) -> None:
    """HTML, broken JSON, wrong types, compressed bodies: 422 and a line that says why."""
    answer = await call(reply)

    assert answer.dendrite.status_code == 422
    assert (answer.dendrite.status_message or "").startswith("Failed to parse response: ")
    assert answer.axon.status_code is None


async def test_a_redirect_is_not_followed() -> None:
    """Signed requests go where they were meant to go, and nowhere else."""
    async with axon(success()) as other:
        moved = http({"message": "elsewhere"}, 307, Location=f"http://{other.address}/Generate3D")

        answer = await call(moved)

    assert answer.dendrite.status_code == 307
    assert other.requests == []


async def test_a_reply_that_says_it_is_too_long_is_not_read() -> None:
    """More than the limit is refused by its announced length."""
    answer = await call(success(results="Q" * 5000), max_reply_bytes=4096)

    assert answer.dendrite.status_code == 422
    assert "longer than 4096 bytes" in (answer.dendrite.status_message or "")


async def test_a_reply_without_end_is_cut_off() -> None:
    """A reply in chunks that never ends stops at the limit, not at the timeout."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
            await writer.drain()

    answer = await call(pour, max_reply_bytes=100_000, timeout=60.0)

    assert answer.dendrite.status_code == 422


async def test_a_reply_that_breaks_off_is_told_apart() -> None:
    """Fewer bytes than announced: 400."""
    answer = await call(success(results="QUJD")[:-5])

    assert answer.dendrite.status_code == 400


async def test_hanging_up_is_unavailable() -> None:
    """A connection closed without a reply: 503."""
    answer = await call(b"")

    assert answer.dendrite.status_code == 503


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection: 503 with address and name."""
    async with axon(b"") as fake:
        address = fake.address
    async with Dendrite(ME) as dendrite:
        answer = await dendrite.call(address, MINER, Generate3D(prompt="a"))

    assert answer.dendrite.status_code == 503
    assert answer.dendrite.status_message == f"Service unavailable at {address}/Generate3D"


async def test_silence_ends_at_the_timeout() -> None:
    """No reply in time: 408, and the connection is closed."""
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()

    async with axon(wait) as fake, Dendrite(ME) as dendrite:
        answer = await dendrite.call(fake.address, MINER, Generate3D(prompt="a"), 1.0)
        await asyncio.wait_for(left.wait(), 60)

    assert answer.dendrite.status_code == 408
    assert answer.dendrite.status_message == "Request timeout after 1.0 seconds"


async def test_a_slow_reply_ends_at_the_timeout() -> None:
    """The limit holds for the whole reply, not for each piece of it."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(success(results="Q" * 1000)[:-900])
        await writer.drain()
        await reader.read()

    answer = await call(drip, timeout=0.05)

    assert answer.dendrite.status_code == 408


@pytest.mark.parametrize("address", ["127.0.0.1", "nonsense", "256.1.1.1:70000", ":0", "a b:1"])
async def test_an_address_that_is_none_is_an_answer_too(address: str) -> None:
    """Addresses come from others: a wrong one is a failed call, not a fault."""
    async with Dendrite(ME) as dendrite:
        answer = await dendrite.call(address, MINER, Generate3D(prompt="a"), 0.5)

    assert answer.dendrite.status_code in (408, 500, 503)


@pytest.mark.parametrize(
    "synapse", [Generate3D(prompt="\ud800"), TGTask(prompt="\udfff", task_id="1")]
)
async def test_half_a_character_is_the_callers_mistake(synapse: Synapse) -> None:
    """Text that UTF-8 cannot hold raises an error of ours before anything is sent."""
    async with axon(success()) as fake, Dendrite(ME) as dendrite:
        with pytest.raises(MalformedRequest):
            await dendrite.call(fake.address, MINER, synapse)

    assert fake.requests == []


async def test_a_large_picture_is_sent_whole() -> None:
    """A body of megabytes arrives as it was hashed."""
    synapse = Generate3D(image="QUJD" * 1_000_000)
    async with axon(success()) as fake, Dendrite(ME) as dendrite:
        answer = await dendrite.call(fake.address, MINER, synapse)

    assert answer.dendrite.status_code == 200
    assert fake.requests[0].body["image"] == synapse.image


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400), st.booleans())
def test_no_reply_makes_it_raise(reply: bytes, framed: bool) -> None:
    """Whatever bytes come back become a status."""
    answer = asyncio.run(call(http(reply) if framed else reply, timeout=5.0))

    assert answer.dendrite.status_code is not None

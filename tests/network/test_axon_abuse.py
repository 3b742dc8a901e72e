"""Abuse of the axon's socket: each case gets its status or is cut off, and service goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.network.protocol import Generate3D
from miner.settings.listening import ListenLimits
from tests.network.axon_rig import (
    PATIENCE_SECONDS,
    Rig,
    assert_serves,
    axon_rig,
    closed,
    read_reply,
    request_bytes,
    send,
    signed,
)

SMALL = ListenLimits(max_body_bytes=100_000)
HASTY = ListenLimits(max_body_bytes=100_000, header_seconds=1.0, body_seconds=1.0)
"""For those who are too slow on purpose: who behaves needs milliseconds."""


async def test_oversized_bodies_are_refused_unread() -> None:
    """A body announced too long is 413 before any of it is sent."""
    async with axon_rig(SMALL) as rig:
        headers, _ = signed(Generate3D(prompt="a"))
        data = request_bytes({**headers, "Content-Length": "100001"})
        reply = await send(rig.port, data)
        await assert_serves(rig)

        assert rig.intake.seen[1:] == []
    assert (reply.status, reply.message) == (413, "the body is longer than 100000 bytes")
    assert reply.headers["connection"] == "close"


async def test_chunked_bodies_are_counted() -> None:
    """A chunked body, which announces no length, is 413 once it is too long, and good below."""
    async with axon_rig(SMALL) as rig:
        headers, body = signed(Generate3D(prompt="a"))
        headers["Transfer-Encoding"] = "chunked"
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        good = await send(rig.port, request_bytes(headers) + chunk + b"0\r\n\r\n")
        headers, _ = signed(Generate3D(prompt="a"))
        headers["Transfer-Encoding"] = "chunked"
        large = (b"10000\r\n" + b" " * 65536 + b"\r\n") * 3
        reply = await send(rig.port, request_bytes(headers) + large)

    assert (good.status, reply.status) == (200, 413)


async def test_a_gzip_bomb_is_not_inflated() -> None:
    """A compressed body is 400, whatever it would become."""
    async with axon_rig(SMALL) as rig:
        headers, _ = signed(Generate3D(prompt="a"))
        bomb = gzip.compress(b" " * 50_000_000)
        headers["Content-Encoding"] = "gzip"
        reply = await send(rig.port, request_bytes(headers, bomb))
        await assert_serves(rig)

    assert (reply.status, reply.message) == (400, "compressed bodies are not taken")


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * 1_000_000,
        b"\r\n".join(b"X-%d: a" % i for i in range(1000)),
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: -1",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"no colon here",
        b"X: a\x00b",
    ],
    ids=["one large", "many", "two framings", "negative", "two lengths", "no colon", "zero byte"],
)
async def test_header_bombs_are_malformed(head: bytes) -> None:
    """Headers that are too large, too many or wrong are 400, and the connection closes."""
    async with axon_rig(SMALL) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"POST /Generate3D HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        reply = await read_reply(reader)
        await closed(reader)
        writer.close()
        await assert_serves(rig)

        found = [
            sample
            for family in rig.metrics.registry.collect()
            if family.name == "miner_malformed_requests"
            for sample in family.samples
        ]
        assert sum(sample.value for sample in found) == 1
    assert reply.status == 400


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"hello\r\n\r\n",
        b"POST\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
    ],
    ids=["tls", "words", "verb only", "version", "bad url"],
)
async def test_what_is_not_http_is_malformed(data: bytes) -> None:
    """Other protocols and broken request lines get 400, or the connection closed."""
    async with axon_rig(SMALL) as rig:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            assert (await send(rig.port, data)).status == 400
        await assert_serves(rig)


async def test_floods_of_rubbish_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Many malformed requests are counted each and logged once, without a traceback."""
    async with axon_rig(SMALL) as rig:
        with caplog.at_level(logging.DEBUG):
            for _ in range(50):
                await send(rig.port, b"POST / HTTP/1.1\r\nno colon\r\n\r\n")

        counted = rig.counted(
            "miner_malformed_requests_total", server="axon", kind="BadHttpMessage"
        )
    lines = [record for record in caplog.records if record.name.startswith("miner")]
    assert len(lines) == 1
    assert lines[0].exc_info is None
    assert counted == 50


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Sends a byte every few hundredths of a second until it cannot."""
    with contextlib.suppress(ConnectionError):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("before", [b"", b"half"])
async def test_slow_headers_are_cut(before: bytes) -> None:
    """A connection whose header does not become whole in time is closed, however it drips."""
    async with axon_rig(HASTY) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(drip(writer, before and b"POST /Generate3D HTTP/1.1\r\n" * 20))
            assert await closed(reader) == b""
            slow.cancel()
        writer.close()
        await assert_serves(rig)


async def test_slow_second_headers_are_cut() -> None:
    """Also behind a good request on the same connection."""
    async with axon_rig(HASTY) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request_bytes(*signed(Generate3D(prompt="a"))) + b"POST /Gen")
        assert (await read_reply(reader)).status == 200
        assert await closed(reader) == b""
        writer.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_slow_bodies_are_refused(framing: str) -> None:
    """A signed request whose body does not become whole in time is 408."""
    async with axon_rig(HASTY) as rig:
        headers, body = signed(Generate3D(prompt="a"))
        frame = {"Content-Length": str(len(body))}
        headers |= frame if framing == "length" else {"Transfer-Encoding": "chunked"}
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request_bytes(headers, b'{"prompt' if framing == "length" else b"5\r\n{"))
        reply = await read_reply(reader)
        writer.close()
        await assert_serves(rig)

    assert (reply.status, reply.message) == (408, "the body took longer than 1 s")


async def test_strangers_wait_for_no_body() -> None:
    """A request that is refused by its headers is refused before its body has come."""
    async with axon_rig() as rig:
        reply = await send(rig.port, request_bytes({"Content-Length": "1000"}, b"{"))

    assert reply.status == 401


async def test_a_client_that_asks_first_is_asked_for_its_body() -> None:
    """``Expect: 100-continue`` is answered after admission, and refused without."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"))
        headers |= {"Expect": "100-continue", "Content-Length": str(len(body))}
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request_bytes(headers))
        assert (await read_reply(reader)).status == 100
        writer.write(body)
        assert (await read_reply(reader)).status == 200
        writer.close()
        refused = await send(rig.port, request_bytes(headers))

    assert refused.status == 401


async def test_broken_chunks_are_malformed() -> None:
    """A body whose framing breaks off is 400, or the connection closes."""
    async with axon_rig(SMALL) as rig:
        headers, _ = signed(Generate3D(prompt="a"))
        data = request_bytes({**headers, "Transfer-Encoding": "chunked"}) + b"zz\r\nrubbish\r\n"
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            assert (await send(rig.port, data)).status == 400
        await assert_serves(rig)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
async def test_half_closed_connections_end(part: float) -> None:
    """A client that stops sending in the middle of a request is let go of."""
    async with axon_rig() as rig:
        data = request_bytes(*signed(Generate3D(prompt="a")))
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(data[: int(len(data) * part)])
        writer.write_eof()
        assert await closed(reader) == b""
        writer.close()
        await assert_serves(rig)

        assert rig.intake.seen[1:] == []


async def open_idle(rig: Rig, count: int) -> list[asyncio.StreamWriter]:
    pairs = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(count)]
    return [writer for _, writer in pairs]


async def poll_until(rig: Rig, most: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The server has no event for this, and needs none.
        while rig.counted("miner_open_connections", server="axon") > most:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_six_hundred_idle_connections() -> None:
    """One address holds no more than its share; others are served; idle ones are closed."""
    limits = ListenLimits(header_seconds=2.0)
    async with axon_rig(limits) as rig:
        idle = await open_idle(rig, 600)
        await assert_serves(rig, source="127.0.0.2")

        refused = rig.counted("miner_connections_refused_total", server="axon", reason="address")
        assert refused == 600 - limits.max_connections_per_address
        await poll_until(rig, 0)
        await assert_serves(rig)
        for writer in idle:
            writer.close()


async def test_connections_are_capped_in_all() -> None:
    """Beyond the limit a connection is closed at once; when one ends there is room again."""
    limits = ListenLimits(max_connections=3)
    async with axon_rig(limits) as rig:
        idle = await open_idle(rig, 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        assert await closed(reader) == b""
        writer.close()
        assert rig.counted("miner_connections_refused_total", server="axon", reason="total") == 1
        idle.pop().close()
        await poll_until(rig, 2)
        await assert_serves(rig)
        for writer in idle:
            writer.close()


BODIES = [b"", b"null", b"[]", b"5", b'"a"', b"{", b'{"prompt": 5}', b"\xff\xfe", b"{}" * 10]


@pytest.mark.parametrize("body", BODIES)
async def test_bad_bodies_are_malformed(body: bytes) -> None:
    """A signed body that is no JSON object of the right types is 400."""
    async with axon_rig() as rig:
        headers, _ = signed(Generate3D(prompt="a"))
        reply = await send(rig.port, request_bytes(headers, body))
        await assert_serves(rig)

    assert reply.status == 400
    assert reply.message.startswith("body: ")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted(Generate3D.model_fields)) | st.text()
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6).map(lambda d: json.dumps(d).encode())
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)


async def outcome(rig: Rig, data: bytes, ends: bool) -> int:
    """The status, or 0 where the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(data)
    if ends:
        writer.write_eof()
    try:
        return (await read_reply(reader)).status
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0
    finally:
        writer.close()


def test_no_garbage_is_our_fault() -> None:
    """Garbage bytes, headers and signed bodies are never a 500, and service goes on."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        rig = runner.run(stack.enter_async_context(axon_rig()))

        def check(data: bytes, ends: bool = False) -> None:
            assert runner.run(outcome(rig, data, ends)) < 500

        @given(st.binary(max_size=300))
        def raw(data: bytes) -> None:
            check(data, ends=True)

        @given(st.sampled_from(sorted(signed(Generate3D(prompt="a"))[0])), LATIN)
        def headers(name: str, value: str) -> None:
            good, body = signed(Generate3D(prompt="a"))
            check(request_bytes({**good, name: value}, body))

        @given(DOCUMENTS | st.binary(max_size=100))
        def bodies(body: bytes) -> None:
            check(request_bytes(signed(Generate3D(prompt="a"))[0], body))

        @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
        def paths(path: str) -> None:
            check(request_bytes(*signed(Generate3D(prompt="a")), path=f"/{path}"))

        for attack in (raw, headers, bodies, paths):
            settings(max_examples=60, deadline=None)(attack)()
        runner.run(assert_serves(rig))
        runner.run(stack.aclose())

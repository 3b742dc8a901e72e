"""Hosting: binding, stopping, cancelling and reading bodies, for handlers and for applications."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop
from aiohttp import web

from miner.errors import BindError, MinerError
from miner.metrics import Metrics
from miner.network.server import Listening, read_body, serve
from miner.settings.listening import ListenLimits
from tests.network.axon_rig import PATIENCE_SECONDS, closed, read_reply, request_bytes, send

LIMITS = ListenLimits(max_body_bytes=1024)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Answers with the body, or the status of what is wrong with it."""
    try:
        return web.Response(body=await read_body(request, LIMITS))
    except MinerError as error:
        return web.Response(status=error.status, text=str(error))


def application() -> web.Application:
    app = web.Application()
    app.router.add_post("/echo", echo)
    return app


@contextlib.asynccontextmanager
async def served(handler: Any, limits: ListenLimits = LIMITS) -> AsyncIterator[Listening]:
    where = {"name": "test", "host": "127.0.0.1", "port": 0}
    async with serve(handler, **where, limits=limits, metrics=Metrics()) as listening:
        yield listening


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("make", [lambda: echo, application])
def test_handlers_and_applications_are_served(
    factory: Callable[[], asyncio.AbstractEventLoop], make: Callable[[], Any]
) -> None:
    """Both kinds answer, on either event loop, and bodies reach them as they came."""

    async def scenario() -> None:
        async with served(make()) as listening:
            reply = await send(listening.port, request_bytes({}, b"\x1f\x8b raw", "/echo"))
            large = await send(listening.port, request_bytes({}, b"a" * 1025, "/echo"))
        assert (reply.status, reply.body) == (200, b"\x1f\x8b raw")
        assert large.status == 413

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())


async def test_an_application_asks_for_its_body_once() -> None:
    """``Expect: 100-continue`` is answered by the application, and not again by the reader."""
    async with served(application()) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        headers = {"Expect": "100-continue", "Content-Length": "2"}
        writer.write(request_bytes(headers, path="/echo"))
        assert (await read_reply(reader)).status == 100
        writer.write(b"ab")
        reply = await read_reply(reader)
        writer.close()

    assert (reply.status, reply.body) == (200, b"ab")


async def test_an_application_lives_as_long_as_its_server() -> None:
    """Its start-up runs before the first request and its clean-up after the last."""
    story: list[str] = []

    async def life(app: web.Application) -> AsyncIterator[None]:
        story.append("up")
        yield
        story.append("down")

    app = application()
    app.cleanup_ctx.append(life)
    async with served(app) as listening:
        await send(listening.port, request_bytes({}, b"", "/echo"))
        story.append("answered")

    assert story == ["up", "answered", "down"]


async def test_a_taken_port_is_told() -> None:
    """Where another server listens already, the start fails with the address in its text."""
    async with served(echo) as listening:
        where = {"name": "axon", "host": "127.0.0.1", "port": listening.port}
        with pytest.raises(BindError, match=rf"axon: cannot listen on 127.0.0.1:{listening.port}"):
            async with serve(application(), **where, limits=LIMITS, metrics=Metrics()):
                pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_a_foreign_address_is_told(host: str) -> None:
    """An address that is not this host's is refused at the start."""
    with pytest.raises(BindError, match=host):
        async with serve(echo, name="api", host=host, port=0, limits=LIMITS, metrics=Metrics()):
            pass


async def test_the_url_reaches_the_server() -> None:
    """A server on all addresses names one by which this host reaches it, with the true port."""
    where = {"name": "axon", "host": "0.0.0.0", "port": 0}
    async with serve(echo, **where, limits=LIMITS, metrics=Metrics()) as listening:
        assert listening.port != 0
        assert listening.url == f"http://127.0.0.1:{listening.port}"
        assert (await send(listening.port, request_bytes({}))).status == 200


async def test_stopping_refuses_new_connections_only() -> None:
    """After ``stop_accepting`` new connections fail and an open one is still answered."""
    async with served(echo) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(request_bytes({}, b"first"))
        assert (await read_reply(reader)).body == b"first"
        listening.stop_accepting()
        listening.stop_accepting()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(request_bytes({}, b"second"))
        assert (await read_reply(reader)).body == b"second"
        writer.close()


async def test_the_end_waits_for_running_requests() -> None:
    """A request that runs when the server ends is answered before it has ended."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        entered.set()
        await release.wait()
        return web.Response(text="done")

    async with served(slow) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(request_bytes({}))
        await entered.wait()
        asyncio.get_running_loop().call_later(0.05, release.set)
    assert (await read_reply(reader)).body == b"done"
    assert await closed(reader) == b""
    writer.close()


@pytest.mark.parametrize("kind", ["handler", "application"])
async def test_handlers_are_cancelled_when_clients_leave(kind: str) -> None:
    """A handler hears at once that its client has left, in both kinds of server."""
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(request: web.BaseRequest) -> web.StreamResponse:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    app = web.Application()
    app.router.add_post("/", waits)
    async with served(waits if kind == "handler" else app) as listening:
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(request_bytes({}, path="/"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await entered.wait()
            writer.close()
            await cancelled.wait()


async def test_faults_of_handlers_are_logged_with_their_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A handler that raises gets a plain 500 out, and its traceback into the log once."""

    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("a secret detail")

    async with served(broken) as listening:
        with caplog.at_level(logging.INFO):
            replies = [await send(listening.port, request_bytes({})) for _ in range(3)]

    assert [reply.status for reply in replies] == [500] * 3
    assert b"secret" not in replies[0].body
    [record] = [record for record in caplog.records if record.name.startswith("miner")]
    assert record.exc_info is not None

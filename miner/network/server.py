"""Hosts one HTTP server with all its limits; used by every server of the daemon, and by its tests.

What a peer may take up is bounded before any handler runs: connections in all and of one address,
the size and number of headers, the time until a whole header is there. Handlers read bodies through
``read_body``, which bounds size and time. A handler is cancelled when its client leaves.

Limits: a client that goes on reading its answer, however slowly, is not cut off; one that has
stopped reading is, after ``SEND_STALL_SECONDS`` (on Linux). A client that closes its sending half
has left. Plain HTTP/1.1; TLS is a proxy's work.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from miner.errors import BindError, MalformedRequest, PayloadTooLarge, TooSlow
from miner.metrics import Metrics
from miner.network.noise import quiet_logger
from miner.settings.listening import ListenLimits

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_HEADER_BYTES = 8190
"""Of one header, and of the request line."""
MAX_HEADERS = 64
"""Peers of the axon protocol send about twenty."""
BACKLOG = 128
"""Connections that the kernel holds for us to accept."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that its sender sees the refusal."""
SEND_STALL_SECONDS = 30.0
SHUTDOWN_SECONDS = 2.0
"""For requests still running when a server ends; whoever stops the daemon drains before that."""


class _LimitedServer(web.Server):
    """The library's factory of connections, which here counts them.

    The counters are written by ``connection_made`` and ``connection_lost`` alone.
    """

    def __init__(
        self, handler: Handler, name: str, limits: ListenLimits, metrics: Metrics, **options: Any
    ) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            keepalive_timeout=limits.header_seconds,
            auto_decompress=False,
            access_log=None,
            logger=quiet_logger(name, metrics),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_SECONDS,
            **options,
        )
        self._name = name
        self._limits = limits
        self._metrics = metrics
        self._addresses: dict[RequestHandler, str] = {}
        self._open: Counter[str] = Counter()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        address = _address(transport)
        self._addresses[handler] = address
        self._open[address] += 1
        self._metrics.connections(self._name, len(self._addresses))

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        address = self._addresses.pop(handler, None)
        if address is None:
            return
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
        self._metrics.connections(self._name, len(self._addresses))

    def refuses(self, transport: asyncio.Transport) -> bool:
        """Whether a new connection is one too many; counts it if so."""
        if len(self._addresses) >= self._limits.max_connections:
            self._metrics.connection_refused(self._name, "total")
            return True
        if self._open[_address(transport)] >= self._limits.max_connections_per_address:
            self._metrics.connection_refused(self._name, "address")
            return True
        return False


class _Door(asyncio.Protocol):
    """Stands at a new connection until it is known whether it may stay."""

    def __init__(self, server: _LimitedServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's have no common base
        if self._server.refuses(stream):
            stream.abort()
            return
        _limit_stall(stream)
        handler = self._server()
        stream.set_protocol(handler)
        handler.connection_made(stream)


def _address(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "local"


def _limit_stall(transport: asyncio.Transport) -> None:
    """Has the kernel drop a peer that takes nothing of what we send."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, option, int(SEND_STALL_SECONDS * 1000))


class Listening:
    """A server that accepts connections.

    Attributes:
        name: as in the metrics.
        host, port: bound; the port is never 0.
    """

    def __init__(self, name: str, server: asyncio.Server) -> None:
        self.name = name
        self._server = server
        bound = server.sockets[0].getsockname()
        self.host: str = bound[0]
        self.port: int = bound[1]

    @property
    def url(self) -> str:
        """Where this host itself reaches it, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def stop_accepting(self) -> None:
        """Takes no new connections; those there are go on. May be called again."""
        self._server.close()


@asynccontextmanager
async def serve(
    handler: Handler | web.Application,
    *,
    name: str,
    host: str,
    port: int,
    limits: ListenLimits,
    metrics: Metrics,
) -> AsyncIterator[Listening]:
    """Serves until the block ends; then running requests get ``SHUTDOWN_SECONDS`` to finish.

    Args:
        handler: a low-level handler, or an application, which is started and cleaned up with it.
        name: of the server, in metrics and logs.
        host: an address of this host.
        port: 0 for any free one.
        limits: of its connections; ``max_body_bytes`` holds for ``read_body`` and, in an
            application, also for what the library itself reads.
        metrics: what is counted goes there.

    Raises:
        BindError: the address is taken, not ours, or not allowed.
    """
    async with _connections(handler, name, limits, metrics) as server:
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(lambda: _Door(server), host, port, backlog=BACKLOG)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BindError(f"{name}: cannot listen on {host}:{port}: {reason}") from error
        try:
            yield Listening(name, listener)
        finally:
            listener.close()
            server.pre_shutdown()
            await server.shutdown(SHUTDOWN_SECONDS)
            await listener.wait_closed()


@asynccontextmanager
async def _connections(
    handler: Handler | web.Application, name: str, limits: ListenLimits, metrics: Metrics
) -> AsyncIterator[_LimitedServer]:
    """The factory of connections, with the application behind it started where there is one."""
    if not isinstance(handler, web.Application):
        yield _LimitedServer(handler, name, limits, metrics)
        return
    runner = web.AppRunner(handler)
    await runner.setup()
    try:
        inner = runner.server
        assert inner is not None
        yield _LimitedServer(
            inner.request_handler, name, limits, metrics, request_factory=inner.request_factory
        )
    finally:
        await runner.cleanup()


async def read_body(request: web.BaseRequest, limits: ListenLimits) -> bytes:
    """The whole body, as it came.

    Raises:
        PayloadTooLarge: it is, or says that it is, longer than ``limits.max_body_bytes``.
        TooSlow: it is not whole after ``limits.body_seconds``.
        MalformedRequest: it is compressed, or its framing is broken.
    """
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise MalformedRequest("compressed bodies are not taken")
    length = request.content_length
    if length is not None and length > limits.max_body_bytes:
        raise _too_large(limits)
    try:
        if request.content.is_eof():
            body = request.content.read_nowait(-1)
        else:
            await _send_continue(request)
            async with asyncio.timeout(limits.body_seconds):
                body = await _read_rest(request, limits)
    except TimeoutError as error:
        raise TooSlow(f"the body took longer than {limits.body_seconds:g} s") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise MalformedRequest("the body is not framed as HTTP wants it") from error
    if len(body) > limits.max_body_bytes:
        raise _too_large(limits)
    return body


async def _read_rest(request: web.BaseRequest, limits: ListenLimits) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > limits.max_body_bytes:
            raise _too_large(limits)
    return bytes(body)


async def _send_continue(request: web.BaseRequest) -> None:
    """Asks for the body where the client waits to be asked; an application does so itself."""
    waits = request.headers.get("Expect", "").lower() == "100-continue"
    if waits and not isinstance(request, web.Request):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _too_large(limits: ListenLimits) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is longer than {limits.max_body_bytes} bytes")

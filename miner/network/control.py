"""The control socket: what the operator asks of a running daemon, as HTTP over a Unix socket.

The socket lies in the state directory and is its owner's alone (0600); whoever may open it may do
everything here. The daemon holds the lock of that directory, so a socket that is already there is
of an earlier life and is replaced. A verb once begun goes on when its caller leaves.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from miner.errors import BadOption, BindError
from miner.network.control_client import MAX_PATH_BYTES, SOCKET_NAME
from miner.network.overview import overview
from miner.network.replies import Handler, covering, json_reply
from miner.network.status import status
from miner.network.view import DaemonControl, DaemonView

BACKLOG = 16
KEEPALIVE_SECONDS = 5.0
SHUTDOWN_SECONDS = 1.0
"""For verbs still at work when the daemon ends."""


def control_application(
    view: DaemonView, daemon: DaemonControl, clock: Callable[[], float] = time.monotonic
) -> web.Application:
    """The verbs: ``GET`` reads, ``POST`` moves; ``/restore?hold=1`` also holds the primary."""
    application = web.Application(middlewares=[covering("control", view.metrics)])
    application.router.add_get("/status", _status(view, clock))
    application.router.add_get("/overview", _overview(view, clock))
    application.router.add_get("/validators", _validators(view))
    application.router.add_post("/drain", _drain(view, daemon))
    application.router.add_post("/reload", _reload(daemon))
    application.router.add_post("/precision", _precision(daemon))
    application.router.add_post("/rollback", _rollback(daemon))
    application.router.add_post("/restore", _restore(daemon))
    application.router.add_post("/stop", _stop(daemon))
    return application


@asynccontextmanager
async def serve_control(
    state_dir: Path, view: DaemonView, daemon: DaemonControl
) -> AsyncIterator[Path]:
    """Listens on the socket until the block ends, and takes it away then.

    Args:
        state_dir: exists, and this daemon holds its lock.
        view: what ``status`` shows.
        daemon: what the verbs move.

    Raises:
        BindError: the socket cannot be made there.
    """
    path = state_dir / SOCKET_NAME
    listener = _listen(path)
    # A verb is not the caller's once it has begun: no cancellation when the caller leaves.
    runner = web.AppRunner(
        control_application(view, daemon),
        handler_cancellation=False,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        await runner.setup()
        site = web.SockSite(runner, listener, backlog=BACKLOG)
        await site.start()
        yield path
    finally:
        await runner.cleanup()
        listener.close()
        with suppress(FileNotFoundError):
            path.unlink()


def _listen(path: Path) -> socket.socket:
    """A socket bound there and not yet listening: nobody connects before its mode is set."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise BindError(f"{path}: too long for a socket; choose a state_dir with a shorter path")
    listener = None
    try:
        _remove_old(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise BindError(f"{path}: the control socket cannot be made: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def _remove_old(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BindError(f"{path}: is there and is no socket; move it away")
        path.unlink()


def _status(view: DaemonView, clock: Callable[[], float]) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return json_reply(status(view, clock()))

    return page


def _overview(view: DaemonView, clock: Callable[[], float]) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return json_reply(await overview(view, clock()))

    return page


def _validators(view: DaemonView) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return json_reply({"validators": [dict(line) for line in view.validators()]})

    return page


def _drain(view: DaemonView, daemon: DaemonControl) -> Handler:
    async def page(request: web.Request) -> web.Response:
        await daemon.drain()
        state = view.queue.snapshot()
        return json_reply({"depth": state.depth, "in_flight": state.in_flight})

    return page


def _reload(daemon: DaemonControl) -> Handler:
    async def page(request: web.Request) -> web.Response:
        report = await daemon.reload()
        return json_reply({"applied": list(report.applied), "waiting": list(report.waiting)})

    return page


def _precision(daemon: DaemonControl) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return json_reply(dict(await daemon.precision(request.query.get("mode", ""))))

    return page


def _rollback(daemon: DaemonControl) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return json_reply(dict(daemon.rollback()))

    return page


def _restore(daemon: DaemonControl) -> Handler:
    async def page(request: web.Request) -> web.Response:
        hold = request.query.get("hold", "0")
        if hold not in ("0", "1"):
            raise BadOption("hold: must be 0 or 1")
        return json_reply(dict(daemon.restore(hold == "1")))

    return page


def _stop(daemon: DaemonControl) -> Handler:
    async def page(request: web.Request) -> web.Response:
        daemon.stop()
        return json_reply({"stopping": True})

    return page

"""The pages that watch over the daemon: ``/metrics``, ``/healthz`` and ``/readyz``.

Served on a port of their own, so that a flood on the others cannot blind the operator. Nothing
here accepts work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from miner.errors import UnknownRoute
from miner.metrics import Metrics
from miner.network.replies import Handler, covering, json_reply
from miner.network.view import DaemonView, IdentityView, why_not_ready

OPENMETRICS = "application/openmetrics-text"


def health_application(view: DaemonView, name: str = "metrics") -> web.Application:
    """The three pages, to be given to ``serve``.

    Args:
        view: the daemon.
        name: of the server, in metrics and logs.
    """
    application = web.Application(middlewares=[covering(name, view.metrics)])
    application.router.add_get("/metrics", metrics_page(view.metrics))
    add_health_routes(application, view)
    return application


def add_health_routes(application: web.Application, view: DaemonView) -> None:
    """Adds ``/healthz`` and ``/readyz`` to a server's pages.

    ``/readyz?identity=NAME`` is about the work of that identity alone.
    """
    application.router.add_get("/healthz", _alive)
    application.router.add_get("/readyz", _ready_page(view))


def metrics_page(metrics: Metrics) -> Handler:
    """All metrics; as OpenMetrics where that is asked for, else in Prometheus' text format."""

    async def page(request: web.Request) -> web.Response:
        # The library's own choice of a format fails on versions it cannot parse.
        if OPENMETRICS in request.headers.get("Accept", ""):
            render: Callable[..., bytes] = openmetrics.generate_latest
            content_type = openmetrics.CONTENT_TYPE_LATEST
        else:
            render, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=render(metrics.registry), headers=headers)

    return page


async def _alive(request: web.Request) -> web.Response:
    """The event loop runs: that is all."""
    return json_reply({"status": "ok"})


def _ready_page(view: DaemonView) -> Handler:
    async def page(request: web.Request) -> web.Response:
        name = request.query.get("identity")
        whose = None if name is None else _identity(view, name)
        reasons = why_not_ready(view, whose)
        answer: dict[str, Any] = {"ready": not reasons, "reasons": reasons}
        if whose is None and len(view.identities) > 1:
            answer["identities"] = {
                one.name: not why_not_ready(view, one) for one in view.identities
            }
        return json_reply(answer, 503 if reasons else 200)

    return page


def _identity(view: DaemonView, name: str) -> IdentityView:
    found = next((one for one in view.identities if one.name == name), None)
    if found is None:
        raise UnknownRoute("there is no identity of that name")
    return found

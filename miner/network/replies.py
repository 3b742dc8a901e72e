"""Answers that all pages of the operator's servers share: JSON, errors as JSON, and their counting.

An error of our tree answers with its own status, code and text. Anything else is our fault: it is
logged once under an id, and the caller gets that id and nothing more.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from miner.errors import CapacityError, MinerError, NotPermitted
from miner.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CLIENT_GONE = 499
"""For the metrics only, as proxies count it."""
RETRY_SECONDS = 5
"""What ``Retry-After`` says where nothing better is known."""

log = structlog.get_logger(__name__)


def json_reply(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON document, never kept by anybody on the way."""
    body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return web.Response(
        body=body, status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def error_reply(
    code: str, message: str, status: int, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An error as ``{"error": {"code", "message"}}``."""
    return json_reply({"error": {"code": code, "message": message}}, status, headers)


def covering(server: str, metrics: Metrics) -> Middleware:
    """A middleware that turns every error into an answer, and counts requests.

    Args:
        server: the name in metrics and logs.
        metrics: where they are counted.
    """

    @web.middleware
    async def cover(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.monotonic()
        status = CLIENT_GONE
        try:
            response = await _answer(request, handler, server)
            status = response.status
            return response
        finally:
            metrics.request(server, _route(request), status, time.monotonic() - begun)

    return cover


async def _answer(request: web.Request, handler: Handler, server: str) -> web.StreamResponse:
    try:
        _refuse_foreign_pages(request)
        return await handler(request)
    except MinerError as error:
        return _of_our_tree(error)
    except web.HTTPException as error:
        return _of_the_library(error)
    except ConnectionError:
        return web.Response(status=CLIENT_GONE)  # reaches nobody: the client has left
    except Exception:
        fault = secrets.token_hex(4)
        log.exception("request_failed", server=server, route=_route(request), fault=fault)
        return error_reply("internal", f"an error of the miner; its log has it as {fault}", 500)


def _of_our_tree(error: MinerError) -> web.Response:
    headers = {}
    if isinstance(error, CapacityError) or error.status == 429:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return error_reply(error.code, str(error), error.status, headers)


def _of_the_library(error: web.HTTPException) -> web.Response:
    """What the router raises: unknown pages and methods."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        text = f"{error.method} is not served here; use {allowed}"
        return error_reply("method_not_allowed", text, 405, {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return error_reply("not_found", "there is no such page; /openapi.json lists them", 404)
    return error_reply("bad_request", error.reason, error.status)


def _refuse_foreign_pages(request: web.Request) -> None:
    """A page of another site, open in the operator's browser, may not use the API in its name.

    Raises:
        NotPermitted: the request comes from such a page.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return
    try:
        ours = urlsplit(origin).netloc == request.host
    except ValueError:
        ours = False
    if not ours:
        raise NotPermitted("pages of other sites may not use this API")


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "other" if resource is None else resource.canonical


def finite(value: float | None, digits: int = 3) -> float | None:
    """A number as JSON can hold it."""
    return None if value is None or not math.isfinite(value) else round(value, digits)

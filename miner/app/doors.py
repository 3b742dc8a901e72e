"""The daemon's own servers: the operator's API and page, and the page of its metrics.

Which there are the settings say. When they open and close is the daemon's business; the axons are
their identities'.
"""

from __future__ import annotations

import contextlib

from aiohttp import web

from miner.app import preflight
from miner.app.parts import Parts
from miner.network.api import api_application
from miner.network.competition import COMPETITION, competition_application
from miner.network.health import health_application
from miner.network.server import serve
from miner.settings import ListenLimits

PAGE_LIMITS = ListenLimits(max_body_bytes=64 * 1024, max_connections=64)
"""Of the server that only shows pages."""


class Doors:
    """Opens the servers of one life of the daemon; each closes with the stack it was opened on.

    Args:
        parts: told of each server's address.
        token: of the HTTP API, where it has one.
    """

    def __init__(self, parts: Parts, token: str | None) -> None:
        self._parts = parts
        self._token = token

    async def open_metrics(self, stack: contextlib.AsyncExitStack) -> None:
        """The page that is read while models still load, where the settings have one."""
        metrics = self._parts.settings.daemon.metrics
        if metrics.enabled:
            page = health_application(self._parts)
            await self._serve(stack, page, "metrics", metrics.host, metrics.port)

    async def open(self, stack: contextlib.AsyncExitStack) -> None:
        """The servers through which the operator's own work comes."""
        parts, api = self._parts, self._parts.settings.daemon.api
        if "http" not in parts.settings.daemon.intakes:
            return
        page = preflight.shows_page(api, self._token)
        pages = api_application(parts, "api", api, self._token, page)
        await self._serve(stack, pages, "api", api.host, api.port, api)
        if api.competition != "off":
            pages = competition_application(parts, api)
            host, port = api.competition_host, api.competition_port
            await self._serve(stack, pages, COMPETITION, host, port, api)

    async def _serve(
        self,
        stack: contextlib.AsyncExitStack,
        handler: web.Application,
        name: str,
        host: str,
        port: int,
        limits: ListenLimits = PAGE_LIMITS,
    ) -> None:
        metrics = self._parts.metrics
        server = serve(handler, name=name, host=host, port=port, limits=limits, metrics=metrics)
        listening = await stack.enter_async_context(server)
        self._parts.addresses[name] = listening.url

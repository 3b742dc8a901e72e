"""The daemon's servers: those through which work comes, and the page of its metrics.

Which there are the settings say. What happens to what comes in is the business of the intakes;
when the doors open and close is the daemon's.
"""

from __future__ import annotations

import contextlib

from aiohttp import web

from miner.admission.gate import Gate
from miner.admission.nonces import NonceTable
from miner.admission.signature import Signer
from miner.app import preflight
from miner.app.parts import Parts
from miner.network.api import api_application
from miner.network.axon import Axon
from miner.network.competition import COMPETITION, competition_application
from miner.network.health import health_application
from miner.network.intake import ValidatorIntake
from miner.network.server import Handler, serve
from miner.settings import ListenLimits

PAGE_LIMITS = ListenLimits(max_body_bytes=64 * 1024, max_connections=64)
"""Of the server that only shows pages."""


class Doors:
    """Opens the servers of one life of the daemon; each closes with the stack it was opened on.

    Args:
        parts: told of each server's address, and of the gate and intake of validators.
        keypair: our hotkey, where there is one.
        token: of the HTTP API, where it has one.
    """

    def __init__(self, parts: Parts, keypair: Signer | None, token: str | None) -> None:
        self._parts = parts
        self._keypair = keypair
        self._token = token

    async def open_metrics(self, stack: contextlib.AsyncExitStack) -> None:
        """The page that is read while models still load, where the settings have one."""
        metrics = self._parts.settings.daemon.metrics
        if metrics.enabled:
            page = health_application(self._parts)
            await self._serve(stack, page, "metrics", metrics.host, metrics.port)

    async def open(self, stack: contextlib.AsyncExitStack, nonces: NonceTable) -> None:
        """The servers through which work comes."""
        intakes = self._parts.settings.daemon.intakes
        if self._keypair is not None and "axon" in intakes:
            await self._open_axon(stack, self._keypair, nonces)
        if "http" in intakes:
            await self._open_api(stack)

    async def _open_axon(
        self, stack: contextlib.AsyncExitStack, keypair: Signer, nonces: NonceTable
    ) -> None:
        parts, daemon = self._parts, self._parts.settings.daemon
        parts.gate = Gate(keypair.ss58_address, daemon.admission, parts.peers_source, nonces)
        parts.intake = ValidatorIntake(parts.queue, parts.journal, daemon.queue)
        handlers = parts.intake.handlers()
        axon = Axon(keypair, parts.gate, handlers, parts.metrics, daemon.axon).handle
        await self._serve(stack, axon, "axon", daemon.axon.host, daemon.axon.port, daemon.axon)

    async def _open_api(self, stack: contextlib.AsyncExitStack) -> None:
        parts, api = self._parts, self._parts.settings.daemon.api
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
        handler: Handler | web.Application,
        name: str,
        host: str,
        port: int,
        limits: ListenLimits = PAGE_LIMITS,
    ) -> None:
        metrics = self._parts.metrics
        server = serve(handler, name=name, host=host, port=port, limits=limits, metrics=metrics)
        listening = await stack.enter_async_context(server)
        self._parts.addresses[name] = listening.url

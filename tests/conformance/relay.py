"""Our validator behind the official server: the service here, the axon in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from miner.admission.peers import Peer
from miner.metrics import Metrics
from miner.network.server import serve
from miner.network.synapse import Synapse
from miner.validator.serve import LIMITS
from miner.validator.service import ValidatorService
from tests.conformance.peers import Peer as Process
from tests.conformance.peers import free_port

BODY_FIELDS = set(Synapse.model_fields)
"""Those of every message; the official server fills them in itself."""


class OfficialValidator(Process):
    """The official server of a release in front of a relay.

    Attributes:
        port, hotkey: where and who it is.
    """

    def __init__(self, version: str, log: Path, key: str, relay: str) -> None:
        self.port = free_port()
        super().__init__(version, "validator.py", log, str(self.port), key, relay)
        self.hotkey = self.next_line()["hotkey"]


@asynccontextmanager
async def behind_official_axon(
    service: ValidatorService, version: str, key: str, log: Path
) -> AsyncIterator[OfficialValidator]:
    """The service answers whom the official server of that release lets in, until the block ends.

    Args:
        service: of the same hotkey as ``key``; entered and left here.
        version: of the official library.
        key: URI of the validator's key.
        log: where the process writes.
    """
    app = web.Application(client_max_size=LIMITS.max_body_bytes)
    app.add_routes([web.post("/refusal", _refusal(service))])
    for kind, handler in service.handlers().items():
        app.add_routes([web.post(f"/{kind.__name__}", _relayed(kind, handler))])
    where: dict[str, Any] = {"name": "relay", "host": "127.0.0.1", "port": 0}
    async with (
        service,
        serve(app, **where, limits=LIMITS, metrics=Metrics()) as listening,
    ):
        process = await asyncio.to_thread(OfficialValidator, version, log, key, listening.url)
        try:
            yield process
        finally:
            await asyncio.to_thread(process.close)


def _caller(hotkey: str) -> Peer:
    return Peer(hotkey=hotkey, uid=0, stake=0.0, validator_permit=False)


def _refusal(service: ValidatorService) -> Any:
    async def answer(request: web.Request) -> web.Response:
        question = await request.json()
        return web.json_response({"reason": service.ledger.refusal(question["hotkey"])})

    return answer


def _relayed(kind: type[Synapse], handler: Any) -> Any:
    async def answer(request: web.Request) -> web.Response:
        question = await request.json()
        synapse = kind.model_validate(question["body"])
        filled = await handler(synapse, _caller(question["hotkey"]))
        return web.json_response(filled.model_dump(mode="json", exclude=BODY_FIELDS))

    return answer

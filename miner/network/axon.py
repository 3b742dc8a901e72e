"""The axon: the server that validators call. Headers, admission, body, handler, reply, in turn.

What is cheap to refuse is refused first, and nothing of a body is read before its sender is known
and permitted. The headers decide who calls; a body that says otherwise, or is not the one that was
signed, is refused. Statuses and texts are those that official peers know; it is stricter than they
are where they believe what they should check.

No routing, no middleware, no log line for a request: what happened is in the metrics. Limits of
connections, headers and time are the server's that calls ``Axon.handle``.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from miner.admission.gate import Claim, Gate, Peer
from miner.admission.signature import Signer
from miner.errors import (
    MalformedRequest,
    MinerError,
    NotPermitted,
    NotVerified,
    RequestError,
    UnknownRoute,
    Unsigned,
)
from miner.metrics import IdentityMetrics
from miner.network.server import read_body
from miner.network.synapse import (
    AXON,
    DENDRITE,
    PROTOCOL_VERSION,
    Synapse,
    TerminalInfo,
    header_text,
    read_claim,
    reply_message,
)
from miner.settings.listening import ListenLimits

__all__ = ["Axon", "Handler"]

Handler = Callable[[Any, Peer], Awaitable[Synapse]]
"""Answers one synapse of the type it is registered for: the same, filled in. Cancelled when the
client leaves; what it raises of our tree becomes the reply's status and text."""

UNKNOWN = "unknown"
"""The route of all requests for a synapse there is none of, in the metrics."""

MAX_NAME = 64
"""Characters of an unknown synapse's name that are repeated to who asked for it."""

CLIENT_LEFT = 499
"""The status under which a request without an answer is counted."""

log = logging.getLogger("miner.axon")


class _Call:
    """What is known of one request so far; for the reply, whatever becomes of it."""

    __slots__ = ("claim", "request", "route", "started")

    def __init__(self, request: web.BaseRequest, started: float) -> None:
        self.request = request
        self.started = started
        self.route = UNKNOWN
        self.claim: Claim | None = None


class Axon:
    """Answers signed requests for the synapses it has handlers for.

    Args:
        name: of the server, in metrics.
    """

    def __init__(
        self,
        keypair: Signer,
        gate: Gate,
        handlers: Mapping[type[Synapse], Handler],
        metrics: IdentityMetrics,
        limits: ListenLimits,
        name: str = "axon",
    ) -> None:
        self._name = name
        self._keypair = keypair
        self._hotkey = keypair.ss58_address
        self._gate = gate
        self._routes = {f"/{kind.__name__}": (kind, handler) for kind, handler in handlers.items()}
        self._metrics = metrics
        self._limits = limits
        self._uuid = str(uuid.uuid4())

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; raises nothing but ``CancelledError``, when its client has left."""
        call = _Call(request, time.perf_counter())
        status = CLIENT_LEFT
        try:
            reply = await self._answer(call)
            status = reply.status
            return reply
        except MinerError as error:
            status = error.status
            return self._refusal(call, error.status, _wording(error))
        except Exception:
            status = 500
            return self._fault(call)
        finally:
            seconds = time.perf_counter() - call.started
            self._metrics.request(self._name, call.route, status, seconds)

    async def _answer(self, call: _Call) -> web.Response:
        kind, handler, peer = self._admit(call)
        body = await read_body(call.request, self._limits)
        synapse = kind.decode(body)
        try:
            assert call.claim is not None
            _bind(synapse, call.claim, self._hotkey)
        except RequestError as error:
            self._metrics.rejected(error.code)
            raise
        return _success(await handler(synapse, peer), call.started)

    def _admit(self, call: _Call) -> tuple[type[Synapse], Handler, Peer]:
        """Everything that can be said without the body."""
        request = call.request
        address = request.remote or ""
        try:
            self._gate.check_address(address)
            kind, handler = self._route(request)
            call.route = kind.__name__
            call.claim = read_claim(request.headers, address)
            return kind, handler, self._gate.admit(call.claim)
        except MinerError as error:
            self._metrics.rejected(error.code)
            raise

    def _route(self, request: web.BaseRequest) -> tuple[type[Synapse], Handler]:
        if request.method not in ("POST", "GET"):
            raise MalformedRequest("use POST")
        path = request.raw_path
        route = self._routes.get(path) or self._routes.get(unquote(path.partition("?")[0]))
        if route is None:
            name = unquote(path.partition("?")[0].lstrip("/").partition("/")[0])[:MAX_NAME]
            known = [kind.__name__ for kind, _ in self._routes.values()]
            raise UnknownRoute(f"Synapse name '{name}' not found. Available synapses {known}")
        return route

    def _fault(self, call: _Call) -> web.Response:
        """For what is our own mistake: its traceback goes to the log, its number to the caller."""
        number = uuid.uuid4()
        log.exception("axon: %s: internal error #%s", call.route, number)
        return self._refusal(call, 500, f"Internal Server Error #{number}")

    def _refusal(self, call: _Call, status: int, text: str) -> web.Response:
        headers = {
            "Content-Type": "application/json",
            "name": call.route,
            **self._signed(call),
            AXON + "status_code": str(status),
            AXON + "status_message": header_text(text),
            AXON + "process_time": f"{time.perf_counter() - call.started:.6f}",
        }
        body = json.dumps({"message": text}).encode()
        reply = web.Response(body=body, status=status, headers=headers)
        if not call.request.content.is_eof():
            # A body that is refused unread is not worth waiting for.
            reply.force_close()
        return reply

    def _signed(self, call: _Call) -> dict[str, str]:
        """Who refuses whom, as official peers tell it; only to those who asked in due form.

        A hotkey is letters and digits: with anything else in its place, our signature could be
        made to stand under a message of the caller's choice.
        """
        claim = call.claim
        if claim is None or claim.hotkey is None or not claim.hotkey.isalnum():
            return {}
        nonce = time.time_ns()
        message = reply_message(nonce, claim.hotkey, self._hotkey, self._uuid)
        ours = TerminalInfo(
            version=PROTOCOL_VERSION,
            nonce=nonce,
            uuid=self._uuid,
            hotkey=self._hotkey,
            signature=f"0x{self._keypair.sign(message).hex()}",
        )
        return ours.headers(AXON) | _seen(call.request).headers(DENDRITE)


def _seen(request: web.BaseRequest) -> TerminalInfo:
    """The caller's end of the connection, as it looks from here."""
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport else None
    return TerminalInfo(ip=str(peer[0]), port=peer[1]) if peer else TerminalInfo()


def _wording(error: MinerError) -> str:
    """The error's text, as official axons word it."""
    if isinstance(error, Unsigned | NotVerified):
        return f"Not Verified with error: {error}"
    if isinstance(error, NotPermitted):
        return f"Forbidden. Key is blacklisted: {error}."
    return str(error)


def _bind(synapse: Synapse, claim: Claim, hotkey: str) -> None:
    """Holds the body to the headers that were verified, and fills in from them what it leaves out.

    Raises:
        NotVerified: they name different peers, or another body was signed.
    """
    if synapse.body_hash != claim.body_hash:
        raise NotVerified("the body is not the one that was signed")
    if synapse.dendrite.hotkey not in (None, claim.hotkey):
        raise NotVerified("body and headers name different callers")
    if synapse.axon.hotkey not in (None, hotkey):
        raise NotVerified("the body is meant for another hotkey")
    synapse.dendrite.hotkey = claim.hotkey
    synapse.axon.hotkey = hotkey
    if claim.timeout_seconds is not None and "timeout" not in synapse.model_fields_set:
        synapse.timeout = claim.timeout_seconds


def _success(synapse: Synapse, started: float) -> web.Response:
    seconds = time.perf_counter() - started
    axon = synapse.axon
    axon.status_code, axon.status_message, axon.process_time = 200, "Success", seconds
    headers = {
        "Content-Type": "application/json",
        "name": type(synapse).__name__,
        "timeout": str(synapse.timeout),
        AXON + "status_code": "200",
        AXON + "status_message": "Success",
        AXON + "process_time": f"{seconds:.6f}",
    }
    return web.Response(body=synapse.encode(), headers=headers)

"""The signed client of the axon protocol: one synapse to one axon, and what became of it.

It calls; whom, how often and what to make of the answers is the caller's business. Replies are
believed no further than they must be: their size is bounded, compressed ones are refused, and what
they say of the caller is ignored. Nothing is retried: a request that failed on the way may have
been worked on all the same.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from miner.admission.signature import Signer
from miner.errors import MalformedRequest
from miner.network.synapse import (
    AXON,
    PROTOCOL_VERSION,
    SynapseT,
    TerminalInfo,
    header_text,
    merge_terminal,
    read_terminal,
    request_headers,
    request_message,
)

T = TypeVar("T")

MAX_REPLY_BYTES = 512 * 1024 * 1024

KEEPALIVE_SECONDS = 4.0
"""Less than the 5 s of the official axon, so that it is we who close an idle connection."""

UNREACHABLE = "Service unavailable"
"""How the status message begins where nobody answered: the request never left."""

CHUNK_BYTES = 1024 * 1024

THREAD_BYTES = 1024 * 1024
"""A longer reply is parsed in a thread, so that the loop goes on."""


class _Refusal(BaseModel):
    """The body of a reply that is no success."""

    model_config = ConfigDict(extra="ignore")

    message: object = None


class _Unusable(Exception):
    """Something came back that is no reply of an axon; the text says why."""


class Dendrite:
    """Signs and sends synapses over a pool of connections; to be entered before the first call.

    Args:
        keypair: the hotkey to call as, for example a ``bittensor_core.Keypair``.
        max_reply_bytes: a longer reply is not read to its end.
        clock: seconds, for the process times.
        wall_clock_ns: nanoseconds since the epoch, for nonces.
    """

    def __init__(
        self,
        keypair: Signer,
        *,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._keypair = keypair
        self._max_reply_bytes = max_reply_bytes
        self._clock = clock
        self._wall_clock_ns = wall_clock_ns
        self._session: aiohttp.ClientSession | None = None

    @property
    def hotkey(self) -> str:
        """The ss58 address that this client calls as."""
        return self._keypair.ss58_address

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # No limit: a request that waits for a connection of the pool ages after it was signed.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=CHUNK_BYTES,
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        address: str,
        axon_hotkey: str,
        synapse: SynapseT,
        timeout: float = 12.0,  # noqa: ASYNC109 - the protocol's own word; told to the axon
        on_date: Callable[[float], None] | None = None,
    ) -> SynapseT:
        """Sends a synapse and returns it as it came back, with the status on it.

        Whatever the other side or the network does becomes ``dendrite.status_code`` and
        ``dendrite.status_message`` of what is returned, never an exception: the axon's own status
        where it replied; 408 when there was no whole reply in time; 503 when it could not be
        reached or hung up; 400 for a reply that breaks off; 422 for one that is no JSON object
        of this synapse or is too long.

        Args:
            address: "ip:port" or "[ipv6]:port".
            axon_hotkey: ss58 address of the one called, which the signature covers.
            synapse: left as it is.
            timeout: seconds for everything; also told to the axon.
            on_date: called with the other side's clock, unix seconds, where its reply tells it.

        Raises:
            MalformedRequest: the synapse's own fields cannot be written as JSON.
        """
        sent = self._address(synapse, address, axon_hotkey, timeout)
        began = self._clock()
        try:
            async with asyncio.timeout(timeout):
                reply = await self._exchange(address, sent, on_date)
        except TimeoutError:
            reply = _failed(sent, 408, f"Request timeout after {timeout} seconds")
        except _Unusable as error:
            reply = _failed(sent, 422, f"Failed to parse response: {error}")
        except (aiohttp.ClientError, OSError) as error:
            reply = _failed(sent, *_describe(error, address, str(sent.name)))
        reply.dendrite.process_time = self._clock() - began
        return reply

    def _address(
        self, synapse: SynapseT, address: str, axon_hotkey: str, timeout: float
    ) -> SynapseT:
        """A copy that says who calls whom; not signed yet."""
        ip, _, port = address.rpartition(":")
        sent = synapse.model_copy()
        sent.timeout = timeout
        sent.dendrite = TerminalInfo(version=PROTOCOL_VERSION, uuid=uuid4().hex, hotkey=self.hotkey)
        sent.axon = TerminalInfo(
            ip=ip.strip("[]"), port=int(port) if port.isdecimal() else None, hotkey=axon_hotkey
        )
        return sent

    def _sign(self, sent: SynapseT) -> None:
        me = sent.dendrite
        try:
            body_hash = sent.body_hash
        except UnicodeEncodeError as error:  # a lone surrogate
            raise MalformedRequest("a field cannot be hashed: is it all text?") from error
        me.nonce = self._wall_clock_ns()
        message = request_message(
            me.nonce, self.hotkey, str(sent.axon.hotkey), str(me.uuid), body_hash
        )
        me.signature = "0x" + self._keypair.sign(message).hex()

    async def _exchange(
        self, address: str, sent: SynapseT, on_date: Callable[[float], None] | None
    ) -> SynapseT:
        assert self._session is not None, "to be entered first"
        self._sign(sent)  # the last thing before it leaves: the nonce is a time
        async with self._session.post(
            f"http://{address}/{sent.name}",
            data=_in_pieces(sent.encode()),
            headers=request_headers(sent) | {"Content-Type": "application/json"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),  # the caller's limit holds for all of it
        ) as response:
            date = _date(response.headers.get("Date"))
            if date is not None and on_date is not None:
                on_date(date)
            if not _is_json(response.content_type):
                raise _Unusable(f"{response.status}, content type {response.content_type}")
            data = await self._read(response)
            return await _received(sent, response, data)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        too_long = _Unusable(f"the reply is longer than {self._max_reply_bytes} bytes")
        if (response.content_length or 0) > self._max_reply_bytes:
            raise too_long
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > self._max_reply_bytes:
                raise too_long
        return bytes(data)


async def _received(sent: SynapseT, response: aiohttp.ClientResponse, data: bytes) -> SynapseT:
    """The reply as a synapse of the caller's class.

    Raises:
        _Unusable: its body is no JSON object of that class, or a header is no number.
    """
    reply, inside = sent.model_copy(), TerminalInfo(status_code=response.status)
    try:
        if response.status == 200:
            reply = await _off_loop(type(sent).decode, data)
            inside = reply.axon
        else:
            refusal = await _off_loop(_Refusal.model_validate_json, data)
            if refusal.message is not None:
                inside.status_message = str(refusal.message)
        headers = read_terminal(response.headers, AXON)
    except (MalformedRequest, ValidationError) as error:
        raise _Unusable(f"{response.status}, {error}".splitlines()[0]) from error
    _settle(reply, sent, (inside, headers), response.status)
    return reply


def _settle(
    reply: SynapseT, sent: SynapseT, said: tuple[TerminalInfo, ...], http_status: int
) -> None:
    """Fills in the terminals: who called whom as we know it, how it went as the axon says it."""
    reply.timeout = sent.timeout
    reply.dendrite, reply.axon = sent.dendrite.model_copy(), sent.axon.model_copy()
    for terminal in said:
        known_better = {"ip": None, "port": None, "hotkey": None}
        merge_terminal(reply.axon, terminal.model_copy(update=known_better))
    if reply.axon.status_code is None:
        reply.axon.status_code = http_status
    reply.dendrite.status_code = reply.axon.status_code
    reply.dendrite.status_message = reply.axon.status_message


async def _off_loop(parse: Callable[[bytes], T], data: bytes) -> T:
    """Parses here what is short and in a thread what is long."""
    return parse(data) if len(data) < THREAD_BYTES else await asyncio.to_thread(parse, data)


def _in_pieces(body: bytes) -> bytes | io.BytesIO:
    """What is long is sent piece by piece, so that the loop goes on."""
    return body if len(body) < CHUNK_BYTES else io.BytesIO(body)


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def _date(header: str | None) -> float | None:
    """Unix seconds of a Date header."""
    try:
        return None if header is None else parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None


def _failed(sent: SynapseT, status: int, message: str) -> SynapseT:
    """What is returned where no reply could be had."""
    reply = sent.model_copy()
    reply.dendrite = sent.dendrite.model_copy()
    reply.dendrite.status_code, reply.dendrite.status_message = status, header_text(message)
    return reply


def _describe(error: Exception, address: str, name: str) -> tuple[int, str]:
    """Status and text for what went wrong on the way."""
    match error:
        case aiohttp.ClientConnectorError():
            return 503, f"{UNREACHABLE} at {address}/{name}"
        case aiohttp.ServerDisconnectedError():
            return 503, f"Service disconnected: {error}"
        case aiohttp.ClientPayloadError():
            return 400, f"Payload error: {error}"
        case OSError():  # a reset among them
            return 503, f"Service connection error: {error}"
        case _:
            return 500, f"Client error: {error}"

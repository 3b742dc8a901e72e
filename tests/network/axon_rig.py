"""An axon on a real socket with a stand-in for the intake, and a bare client that can misbehave."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from miner.admission.gate import Gate, NonceTable, Peer, PeersSnapshot
from miner.admission.signature import Signer, new_hotkey
from miner.errors import JobFailed, QueueFull
from miner.job import MAIN
from miner.metrics import Metrics
from miner.network.axon import Axon
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.server import Listening, serve
from miner.network.synapse import Synapse, request_headers, request_message
from miner.settings.admission import AdmissionSettings
from miner.settings.listening import ListenLimits

MINER = new_hotkey(b"m" * 32)
VALIDATOR = new_hotkey(b"v" * 32)
STRANGER = new_hotkey(b"s" * 32)
POOR = new_hotkey(b"p" * 32)

PEERS = PeersSnapshot.of(
    Peer(VALIDATOR.ss58_address, uid=1, stake=50_000.0, validator_permit=True),
    Peer(POOR.ss58_address, uid=2, stake=1.0, validator_permit=True),
)

PATIENCE_SECONDS = 30.0
"""For what a test waits for; no rule is about this number."""

GENEROUS = AdmissionSettings(
    requests_per_second_per_hotkey=1e6,
    burst_per_hotkey=1_000_000,
    requests_per_second_per_address=1e6,
    burst_per_address=1_000_000,
)


@dataclass
class Intake:
    """Stands in for the intake: answers by what the prompt says, and tells what it saw."""

    seen: list[tuple[Synapse, Peer]] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, synapse: Generate3D, peer: Peer) -> Generate3D:
        self.seen.append((synapse, peer))
        match synapse.prompt:
            case "fault":
                raise RuntimeError("a secret detail")
            case "full":
                raise QueueFull("64 jobs wait already")
            case "failed":
                raise JobFailed("no surface was found", code="bad_output", status=500)
            case "wait":
                await self._wait()
        synapse.results, synapse.generator = "cGx5", "stub"
        return synapse

    async def task(self, synapse: TGTask, peer: Peer) -> TGTask:
        synapse.status = "IN QUEUE"
        return synapse

    async def poll(self, synapse: TGPoll, peer: Peer) -> TGPoll:
        synapse.status = "NOT FOUND"
        return synapse

    async def _wait(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class Rig:
    """A running axon and what stands around it."""

    listening: Listening
    intake: Intake
    metrics: Metrics

    @property
    def port(self) -> int:
        return self.listening.port

    def counted(self, name: str, **labels: str) -> float:
        """The value of a series; 0 where there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def axon_rig(
    limits: ListenLimits | None = None, settings: AdmissionSettings = GENEROUS
) -> AsyncIterator[Rig]:
    """An axon on a free port of the loopback."""
    limits, metrics, intake = limits or ListenLimits(), Metrics(), Intake()
    gate = Gate(MINER.ss58_address, settings, lambda: PEERS, NonceTable(settings))
    handlers = {Generate3D: intake.generate, TGTask: intake.task, TGPoll: intake.poll}
    axon = Axon(MINER, gate, handlers, metrics.of(MAIN), limits)
    where = {"name": "axon", "host": "127.0.0.1", "port": 0}
    async with serve(axon.handle, **where, limits=limits, metrics=metrics) as listening:
        yield Rig(listening, intake, metrics)


def signed(
    synapse: Synapse,
    signer: Signer = VALIDATOR,
    receiver: str = MINER.ss58_address,
    nonce: int | None = None,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an honest request."""
    synapse.dendrite.hotkey = signer.ss58_address
    synapse.dendrite.uuid = str(uuid.uuid4())
    synapse.dendrite.nonce = nonce = nonce or time.time_ns()
    synapse.dendrite.version = 10_005_000
    synapse.axon.hotkey = receiver
    parts = signer.ss58_address, receiver, synapse.dendrite.uuid, synapse.body_hash
    synapse.dendrite.signature = "0x" + signer.sign(request_message(nonce, *parts)).hex()
    headers = {"Content-Type": "application/json", **request_headers(synapse)}
    return headers, synapse.encode()


def request_bytes(
    headers: Mapping[str, str], body: bytes = b"", path: str = "/Generate3D", method: str = "POST"
) -> bytes:
    """One HTTP request with a Content-Length, unless the headers frame it otherwise."""
    lines = [f"{method} {path} HTTP/1.1", "Host: axon"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if not {"Content-Length", "Transfer-Encoding"} & set(headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json()["message"])


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Reads one reply; ``IncompleteReadError`` or ``ConnectionError`` where none comes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(head[0].split()[1]), headers, body)


async def send(port: int, data: bytes, source: str = "127.0.0.1") -> Reply:
    """Sends bytes on a connection of their own and reads one reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(data)
        return await read_reply(reader)
    finally:
        writer.close()


async def call(rig: Rig, synapse: Synapse, signer: Signer = VALIDATOR, **options: Any) -> Reply:
    """Sends an honest request and reads the reply."""
    headers, body = signed(synapse, signer, **options)
    return await send(rig.port, request_bytes(headers, body, f"/{synapse.name}"))


async def assert_serves(rig: Rig, source: str = "127.0.0.1") -> None:
    """A good request is answered."""
    headers, body = signed(Generate3D(prompt="a chair"))
    reply = await send(rig.port, request_bytes(headers, body), source)
    assert (reply.status, reply.json()["results"]) == (200, "cGx5")


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What still came before the other side closed the connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await reader.read()
        except ConnectionError:
            return b""

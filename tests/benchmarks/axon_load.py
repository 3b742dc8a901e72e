"""A lean load generator for axons: raw sockets, every request signed afresh.

    python -m tests.benchmarks.axon_load PORT HOTKEY CONCURRENCY SECONDS PROMPT FILE

Each connection sends the next request when the answer to the last is whole. Writes the latencies
in seconds to FILE, a JSON list. Ends with an error at the first status other than 200:
a benchmark of refusals would flatter.

Lean, so that it is the server that is measured: a request is a template with nonce, uuid and
signature put in, an answer is counted and not parsed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import cast
from uuid import uuid4

import uvloop
from bittensor_core import Keypair

from miner.network.protocol import Generate3D
from miner.network.synapse import TerminalInfo, request_headers, request_message

WARM_UP_SECONDS = 0.5
BUFFER_BYTES = 256 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
NONCE, UUID, SIGNATURE = "@nonce@", "@uuid@", "@signature@"


class Requests:
    """Signed requests for one prompt, without end."""

    def __init__(self, keypair: Keypair, receiver: str, prompt: str) -> None:
        synapse = Generate3D(prompt=prompt, timeout=12.0)
        synapse.axon = TerminalInfo(ip="127.0.0.1", port=1, hotkey=receiver)
        synapse.dendrite = TerminalInfo(
            ip="127.0.0.1", version=10_005_000, hotkey=keypair.ss58_address
        )
        body = synapse.encode()
        synapse.dendrite.uuid, synapse.dendrite.signature = UUID, SIGNATURE
        headers = request_headers(synapse) | {
            "bt_header_dendrite_nonce": NONCE,
            "host": "127.0.0.1",
            "content-type": "application/json",
            "content-length": str(len(body)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._template = f"POST /Generate3D HTTP/1.1\r\n{lines}\r\n"
        self._body = body
        self._hash = synapse.body_hash
        self._keypair = keypair
        self._receiver = receiver

    def next(self) -> bytes:
        """One more."""
        nonce, uuid = time.time_ns(), uuid4().hex
        me = self._keypair.ss58_address
        message = request_message(nonce, me, self._receiver, uuid, self._hash)
        signature = "0x" + self._keypair.sign(message).hex()
        head = self._template.replace(NONCE, str(nonce)).replace(UUID, uuid)
        return head.replace(SIGNATURE, signature).encode() + self._body


class Lane(asyncio.BufferedProtocol):
    """One connection: asks, counts the answer's bytes, asks again until ``until``."""

    def __init__(self, requests: Requests, begin: float, until: float) -> None:
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._begin = begin
        self._until = until
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's have no common base
        self._ask()

    def _ask(self) -> None:
        request = self._requests.next()
        self._asked = time.perf_counter()
        self._transport.write(request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._left:
            self._head += bytes(self._buffer[:nbytes])
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._check(self._head[:end])
            length = LENGTH.search(self._head, 0, end)
            assert length, "the answer must say its length"
            nbytes = len(self._head) - end - 4
            self._left, self._head = int(length[1]), b""
        self._left -= nbytes
        if self._left == 0:
            self._answered()

    def _check(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError(head.decode(errors="replace")))

    def _answered(self) -> None:
        now = time.perf_counter()
        if self._begin <= self._asked and now <= self._until:
            self.latencies.append(now - self._asked)
        if now < self._until:
            self._ask()
        else:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server closed the connection"))

    def _end(self, error: Exception | None = None) -> None:
        if not self.done.done():
            if error:
                self.done.set_exception(error)
            else:
                self.done.set_result(None)
        self._transport.close()


async def load(port: int, requests: Requests, concurrency: int, seconds: float) -> list[float]:
    """Latencies of the answers that came within ``seconds``, after a warm-up."""
    loop = asyncio.get_running_loop()
    begin = time.perf_counter() + WARM_UP_SECONDS
    lanes = []
    for _ in range(concurrency):
        lane = Lane(requests, begin, begin + seconds)
        await loop.create_connection(lambda lane=lane: lane, "127.0.0.1", port)
        lanes.append(lane)
    await asyncio.gather(*(lane.done for lane in lanes))
    return [latency for lane in lanes for latency in lane.latencies]


def main() -> None:
    """Write the figures of one run."""
    port, hotkey, concurrency, seconds, prompt, file = sys.argv[1:]
    requests = Requests(Keypair.create_from_uri("//Validator"), hotkey, prompt)
    latencies = uvloop.run(load(int(port), requests, int(concurrency), float(seconds)))
    Path(file).write_text(json.dumps(latencies))


if __name__ == "__main__":
    main()

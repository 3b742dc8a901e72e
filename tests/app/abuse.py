"""Everything that can be done wrong to an axon's socket, and what each must come to.

An attack ends with the status it was answered with, or with ``CUT`` where the connection was closed
without an answer. All are done by one client that can misbehave; see ``tests/network/axon_rig.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

from miner.network.protocol import Generate3D, TGPoll
from miner.network.synapse import Synapse
from tests.network.axon_rig import (
    STRANGER,
    VALIDATOR,
    closed,
    read_reply,
    request_bytes,
    send,
    signed,
)

CUT = 0
LEFT = -1
"""It did not wait for what became of it."""

MAX_BODY_BYTES = 100_000
LIMITS = {"max_body_bytes": MAX_BODY_BYTES, "header_seconds": 6.0, "body_seconds": 6.0}
"""Of the axon under attack. Who behaves needs milliseconds, but this client shares its cores."""

LANES = 32
DRIP_SECONDS = 0.2
BODIES = (b"", b"null", b"[]", b'"a"', b"{", b'{"prompt": 5}', b"\xff\xfe", b"{}" * 10)
BOMB = gzip.compress(bytes(10_000_000))


@dataclass(frozen=True)
class Target:
    """An axon, and the address from which it is attacked."""

    port: int
    hotkey: str
    source: str

    def signed(
        self, synapse: Synapse | None = None, **options: object
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of an honest request; of a new job where none is given."""
        synapse = synapse or Generate3D(prompt=f"a thing {uuid4()}")
        return signed(synapse, receiver=self.hotkey, **options)  # type: ignore[arg-type]

    async def outcome(self, data: bytes) -> int:
        """Of bytes on a connection of their own."""
        try:
            return (await send(self.port, data, self.source)).status
        except (asyncio.IncompleteReadError, ConnectionError):
            return CUT

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """One of its own, closed afterwards."""
        local = (self.source, 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=local)
        try:
            yield reader, writer
        finally:
            writer.close()


Attack = Callable[[Target], Awaitable[int]]


async def announced_too_long(target: Target) -> int:
    headers, _ = target.signed()
    return await target.outcome(
        request_bytes({**headers, "Content-Length": str(MAX_BODY_BYTES + 1)})
    )


async def chunked_too_long(target: Target) -> int:
    headers, _ = target.signed()
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    return await target.outcome(
        request_bytes({**headers, "Transfer-Encoding": "chunked"}) + chunk * 3
    )


async def gzip_bomb(target: Target) -> int:
    headers, _ = target.signed()
    return await target.outcome(request_bytes({**headers, "Content-Encoding": "gzip"}, BOMB))


async def header_bomb(target: Target) -> int:
    head = b"POST /Generate3D HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 50_000
    return await target.outcome(head + b"\r\n\r\n")


async def other_protocol(target: Target) -> int:
    return await target.outcome(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))


async def noise(target: Target) -> int:
    return await target.outcome(random.randbytes(random.randrange(1, 300)) + b"\r\n\r\n")


async def bad_body(target: Target) -> int:
    headers, _ = target.signed()
    return await target.outcome(request_bytes(headers, random.choice(BODIES)))


async def other_body(target: Target) -> int:
    headers, _ = target.signed()
    return await target.outcome(request_bytes(headers, Generate3D(prompt="another").encode()))


async def unknown_route(target: Target) -> int:
    return await target.outcome(request_bytes(*target.signed(), path=f"/{uuid4()}"))


async def unsigned(target: Target) -> int:
    return await target.outcome(request_bytes({}, b'{"prompt": "a mug"}'))


async def forged(target: Target) -> int:
    headers, body = target.signed(signer=STRANGER)
    return await target.outcome(
        request_bytes({**headers, "bt_header_dendrite_hotkey": VALIDATOR.ss58_address}, body)
    )


async def stranger(target: Target) -> int:
    return await target.outcome(request_bytes(*target.signed(signer=STRANGER)))


async def foreign_task(target: Target) -> int:
    synapse = TGPoll(task_id="somebody's")
    return await target.outcome(request_bytes(*target.signed(synapse), path="/TGPoll"))


async def replayed(target: Target) -> int:
    """The status of the second; the first was good."""
    data = request_bytes(*target.signed())
    assert await target.outcome(data) == 200
    return await target.outcome(data)


async def half_closed(target: Target) -> int:
    data = request_bytes(*target.signed())
    async with target.connection() as (reader, writer):
        writer.write(data[: random.randrange(len(data))])
        with contextlib.suppress(OSError):  # it may be cut already
            writer.write_eof()
        return await _end(reader)


async def idle(target: Target) -> int:
    async with target.connection() as (reader, _):
        return await _end(reader)


async def dripping(target: Target) -> int:
    """A byte now and then of a header that never becomes whole."""
    async with target.connection() as (reader, writer), asyncio.TaskGroup() as group:
        slow = group.create_task(_drip(writer))
        outcome = await _end(reader)
        slow.cancel()
    return outcome


async def slow_body(target: Target) -> int:
    headers, body = target.signed()
    async with target.connection() as (reader, writer):
        framed = {**headers, "Content-Length": str(len(body))}
        writer.write(request_bytes(framed, body[:5]))
        return (await read_reply(reader)).status


async def leaving(target: Target) -> int:
    """Asks for something good and is gone before it is there."""
    async with target.connection() as (_, writer):
        writer.write(request_bytes(*target.signed()))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        await asyncio.sleep(random.random() * 0.02)  # not a wait: a moment to leave at
        writer.transport.abort()
    return LEFT


QUICK: dict[Attack, set[int]] = {
    announced_too_long: {413},
    chunked_too_long: {413},
    gzip_bomb: {400},
    header_bomb: {400},
    other_protocol: {400, CUT},
    noise: {400, CUT},
    bad_body: {400},
    other_body: {401},
    unknown_route: {404},
    unsigned: {401},
    forged: {401},
    stranger: {403},
    foreign_task: {200},
    half_closed: {CUT},
}
SLOW: dict[Attack, set[int]] = {idle: {CUT}, dripping: {CUT}, slow_body: {408}}
COSTLY: dict[Attack, set[int]] = {replayed: {401}, leaving: {LEFT}}
"""Those that a worker gets to do with."""

ATTACKS = QUICK | SLOW | COSTLY
QUICK_TURNS = 24
"""For each slow one: else the lanes would wait most of the time, and the axon with them."""


async def abuse(port: int, hotkey: str, attacks: int) -> Counter[tuple[str, int]]:
    """So many attacks, ``LANES`` at a time, each lane from its own address; what came of them."""
    turns = [*QUICK] * QUICK_TURNS + [*SLOW, *COSTLY]
    numbers, came = count(), Counter[tuple[str, int]]()
    order = [turns[n % len(turns)] for n in range(attacks)]
    random.shuffle(order)

    async def lane(number: int) -> None:
        target = Target(port, hotkey, f"127.0.1.{number + 1}")
        while (turn := next(numbers)) < attacks:
            attack = order[turn]
            came[attack.__name__, await attack(target)] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(LANES):
            group.create_task(lane(number))
    return came


def expected(came: Counter[tuple[str, int]]) -> bool:
    """Whether every kind of attack came, and each to what it must come to."""
    allowed = {attack.__name__: outcomes for attack, outcomes in ATTACKS.items()}
    seen = {name for name, _ in came}
    return seen == set(allowed) and all(outcome in allowed[name] for name, outcome in came)


async def _end(reader: asyncio.StreamReader) -> int:
    """How a connection ends that does not deserve an answer."""
    came = await closed(reader)
    return int(came.split(b" ", 2)[1]) if came else CUT


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        for byte in b"POST /Generate3D HTTP/1.1\r\n" * 100:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)

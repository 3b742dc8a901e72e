"""A chain in memory, at the SDK's own seam, that also misbehaves; and a scripted one above it.

``FakeSubstrate`` stands where the SDK's websocket would: metagraph, queries and extrinsics go
through the SDK's real code. ``ScriptedChain`` stands where our border would, for the watch.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import bittensor as bt

from miner.admission.signature import new_hotkey
from miner.errors import ChainError
from miner.network.chain_reading import Neuron, Reading, Served

MINER = new_hotkey(b"m" * 32)
VALIDATORS = [new_hotkey(bytes([number]) * 32) for number in range(1, 4)]
COLDKEY = new_hotkey(b"c" * 32).ss58_address
RAO = 10**9


def number_of(ip: str) -> int:
    """An IPv4 address as the chain stores it."""
    first, second, third, fourth = map(int, ip.split("."))
    return first << 24 | second << 16 | third << 8 | fourth


def axon(ip: str = "0.0.0.0", port: int = 0, block: int = 0) -> dict[str, int]:
    """A row of the chain's table of axons."""
    return {"ip": number_of(ip), "port": port, "ip_type": 4, "block": block, "version": 1}


def graph(*rows: tuple[str, float, bool, dict[str, int], int], block: int = 1000) -> dict[str, Any]:
    """What the runtime answers for a subnet: columns, one entry for each uid.

    Args:
        rows: hotkey, stake in alpha, permit, axon, incentive out of 65535.
        block: of the answer.
    """
    hotkeys, stakes, permits, axons, incentives = zip(*rows, strict=True) if rows else ([],) * 5
    count = len(rows)
    return {
        "netuid": 17,
        "block": block,
        "tempo": 360,
        "last_step": block,
        "blocks_since_last_step": 0,
        "owner_hotkey": VALIDATORS[0].ss58_address,
        "owner_coldkey": COLDKEY,
        "network_registered_at": 1,
        "immunity_period": 5000,
        "hotkeys": list(hotkeys),
        "coldkeys": [COLDKEY] * count,
        "validator_permit": list(permits),
        "axons": list(axons),
        "incentives": list(incentives),
        "emission": [2 * RAO] * count,
        "total_stake": [int(stake * RAO) for stake in stakes],
        "block_at_registration": [900] * count,
    }


def usual_graph(block: int = 1000) -> dict[str, Any]:
    """Three validators and our miner, uid 3, second by incentive."""
    rows = [
        (VALIDATORS[0].ss58_address, 50_000.0, True, axon("8.8.4.4", 8091, 5), 0),
        (VALIDATORS[1].ss58_address, 2_000.0, True, axon("192.168.0.4", 8091, 5), 0),
        (VALIDATORS[2].ss58_address, 10.0, False, axon(), 40_000),
        (MINER.ss58_address, 1.5, False, axon("8.8.8.8", 8091, 700), 20_000),
    ]
    return graph(*rows, block=block)


@dataclass
class FakeSubstrate:
    """The methods of the SDK's ``Substrate`` that the daemon's calls come down to.

    Attributes:
        answer: makes the metagraph.
        connecting, reading: awaited before answering; raise, wait or block in them.
        queries: values by item.
        refuses: why extrinsics fail; None when they succeed.
        submitted: calls and their signers.
        open: connections that were opened and not closed.
    """

    answer: Callable[[], Any] = usual_graph
    connecting: Callable[[], Any] | None = None
    reading: Callable[[], Any] | None = None
    closing: Callable[[], Any] | None = None
    queries: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    refuses: str | None = None
    submitted: list[tuple[Any, Any]] = field(default_factory=list)
    open: int = 0
    block: int = 1000
    token_symbols: dict[int, str] = field(default_factory=dict)
    threads: set[str] = field(default_factory=set)

    def balance(self, rao: int, netuid: int = 0) -> bt.Balance:
        return bt.Balance(int(rao), netuid)

    async def connect(self) -> None:
        self.threads.add(threading.current_thread().name)
        await _play(self.connecting)
        self.open += 1

    async def close(self) -> None:
        await _play(self.closing)
        self.open -= 1

    async def block_number(self) -> int:
        return self.block

    async def block_hash(self, block: int | None = None) -> str:
        return "0x00"

    async def block_time(self) -> float:
        return 12.0

    async def runtime_call(self, api: str, method: str, params: Any, block_hash: Any = None) -> Any:
        await _play(self.reading)
        return self.answer()

    async def query(
        self, module: str, item: str, params: Any = None, block_hash: Any = None
    ) -> Any:
        return self.queries.get((module, item))

    async def query_map(self, *_: Any, **__: Any) -> list[tuple[Any, Any]]:
        return []

    async def constant(self, module: str, name: str) -> Any:
        return 0

    async def compose(self, call: Any) -> Any:
        return call

    async def estimate_fee(self, call: Any, keypair: Any) -> bt.Balance:
        return bt.Balance(1000)

    async def submit(self, call: Any, keypair: Any, **_: Any) -> bt.ExtrinsicResult:
        self.submitted.append((call, keypair))
        return bt.ExtrinsicResult(self.refuses is None, self.refuses or "")


async def _play(part: Callable[[], Any] | None) -> None:
    if part is not None:
        result = part()
        if asyncio.iscoroutine(result):
            await result


def fail(error: BaseException) -> Callable[[], None]:
    """A part of a fake that raises."""

    def part() -> None:
        raise error

    return part


def neuron(hotkey: str, uid: int, **changes: Any) -> Neuron:
    return replace(Neuron(hotkey, uid, 1000.0, True), **changes)


def usual_reading(block: int = 1000, **own: Any) -> Reading:
    """Two validators and our miner at uid 7; ``own`` changes the miner's row."""
    rows = [neuron(signer.ss58_address, uid) for uid, signer in enumerate(VALIDATORS[:2])]
    mine = neuron(MINER.ss58_address, 7, incentive=0.5, registered_at=900)
    return Reading(block, (*rows, replace(mine, **own)), VALIDATORS[0].ss58_address, 200)


def without_us(block: int = 1000) -> Reading:
    """The same subnet after our hotkey has lost its place."""
    return replace(usual_reading(block), neurons=usual_reading().neurons[:-1])


@dataclass
class ScriptedChain:
    """Implements ``chain_watch.Chain``: answers in order, errors among them.

    Attributes:
        script: what ``read`` gives, shared by all connections; the last is repeated.
        connections: opened so far, and those closed again.
        served: publications that were asked for.
    """

    script: list[Reading | ChainError]
    opened: int = 0
    closed: int = 0
    served: list[tuple[str, str, int]] = field(default_factory=list)
    published: Served = field(default_factory=Served)
    interval: int = 50
    refuses: str | None = None
    refuses_to_connect: Sequence[ChainError] = ()

    async def connect(self) -> ScriptedChain:
        if self.refuses_to_connect:
            error, *self.refuses_to_connect = self.refuses_to_connect
            raise error
        self.opened += 1
        return self

    async def read(self) -> Reading:
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, ChainError):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed += 1

    async def serving_interval_blocks(self) -> int:
        return self.interval

    async def prometheus(self, hotkey: str) -> Served:
        return self.published

    async def serve_axon(self, ip: str, port: int) -> None:
        self._serve("axon", ip, port)

    async def serve_prometheus(self, ip: str, port: int) -> None:
        self._serve("metrics", ip, port)

    def _serve(self, what: str, ip: str, port: int) -> None:
        self.served.append((what, ip, port))
        if self.refuses:
            raise ChainError(self.refuses)

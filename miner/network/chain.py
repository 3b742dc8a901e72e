"""The border to the chain, and the only importer of its SDK (bittensor 11).

A connection lives in a thread of its own with an event loop of its own: decoding metadata takes
the SDK long, and a node or the SDK itself may hang. Every call has a limit, and every failure comes
out as ``ChainError`` with one line of text. What a node sends is not believed before it has passed
through ``Reading``. When to read and what to publish is decided elsewhere.

The SDK is given a signer that holds the hotkey alone; it opens no wallet.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import bittensor as bt

from miner.admission.peers import is_endpoint
from miner.admission.signature import SS58_PREFIX, Signer, public_key
from miner.errors import ChainError
from miner.network.chain_reading import Neuron, Reading, Served, endpoint
from miner.network.loop_thread import LoopThread
from miner.settings.subnet import ChainSettings, is_beside_us

RAO = 1e9
"""Of one alpha or tao."""
GRACE_SECONDS = 2.0
"""For a connection to close; longer means that it hangs."""
MAX_HUNG = 3
"""Connections that were given up and have not ended; with as many, no other is opened."""
MAX_TEXT = 200
NOBODY = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"
"""The address of 32 zeros: what the chain shows at a uid that nobody holds."""
RATE_LIMIT = ("SubtensorModule", "ServingRateLimit")
PROMETHEUS = ("SubtensorModule", "Prometheus")
SR25519 = 1

_T = TypeVar("_T")


def node_url(network: str) -> str:
    """Where the nodes of a network are reached, by its name; a URL stays as it is."""
    return str(bt.settings.NETWORKS.get(network, network))


class Connections:
    """Opens connections to one network, one at a time.

    Args:
        settings: network, subnet and limits.
        signer: our hotkey, for what is published.
        substrate: makes what stands in for the network in tests; see ``bt.Client``.
    """

    def __init__(
        self,
        settings: ChainSettings,
        signer: Signer,
        substrate: Callable[[], Any] | None = None,
    ) -> None:
        self._settings = settings
        self._signer = _HotkeyOnly(signer)
        self._substrate = substrate
        self._given_up: list[LoopThread] = []  # its one writer is this class

    async def open(self) -> Connection:
        """A connection that has answered; the caller closes it.

        Raises:
            ChainError: refused, silent, or too many earlier ones still hang.
        """
        self._given_up = [thread for thread in self._given_up if thread.is_alive]
        if len(self._given_up) >= MAX_HUNG:
            raise ChainError(f"{len(self._given_up)} earlier connections hang; waiting for one")
        thread = LoopThread("chain")
        try:
            limit = self._settings.timeout_seconds
            with _translated(limit):
                client = await thread.call(self._connect, limit)
        except BaseException:
            await self._end(thread)
            raise
        return Connection(client, thread, self._settings, self._signer, self._end)

    async def _connect(self) -> bt.Client:
        substrate = self._substrate() if self._substrate else None
        client = bt.Client(self._settings.network, substrate=substrate)
        await client.connect()
        return client

    async def _end(self, thread: LoopThread) -> None:
        # The list first: a cancellation while closing must not lose count of the thread.
        self._given_up.append(thread)
        if await thread.close(GRACE_SECONDS):
            self._given_up.remove(thread)


class Connection:
    """One connection to the chain; implements ``chain_watch.Chain``. Used by one task at a time."""

    def __init__(
        self,
        client: bt.Client,
        thread: LoopThread,
        settings: ChainSettings,
        signer: _HotkeyOnly,
        end: Callable[[LoopThread], Coroutine[Any, Any, None]],
    ) -> None:
        self._client = client
        self._thread = thread
        self._settings = settings
        self._signer = signer
        self._end = end

    async def read(self) -> Reading:
        """The subnet now.

        Raises:
            ChainError: no answer in time, an error, no such subnet, or nonsense.
        """
        return await self._call(self._read)

    async def block_timestamp(self) -> float:
        """Unix seconds at which the newest block was made, by its author's clock.

        Raises:
            ChainError: as ``read``.
        """
        return (await self._call(self._client.timestamp)).timestamp()

    async def serving_interval_blocks(self) -> int:
        """How many blocks must lie between two publications of one hotkey; 0 for no such rule.

        Raises:
            ChainError: as ``read``.
        """
        return await self._call(self._interval)

    async def prometheus(self, hotkey: str) -> Served:
        """What this hotkey has published of its metrics.

        Raises:
            ChainError: as ``read``.
        """
        return await self._call(lambda: self._prometheus(hotkey))

    async def serve_axon(self, ip: str, port: int) -> None:
        """Publishes where our axon is reached; when this returns, a block holds it.

        Raises:
            ChainError: as ``read``, or the chain refused. After a timeout it may hold all the same.
        """
        await self._execute(bt.ServeAxon(self._settings.netuid, ip, port))

    async def serve_prometheus(self, ip: str, port: int) -> None:
        """Publishes where our metrics are reached; as ``serve_axon``."""
        await self._execute(bt.ServePrometheus(self._settings.netuid, ip, port))

    async def close(self) -> None:
        """Ends the connection and its thread; one that hangs is left behind."""
        with contextlib.suppress(ChainError), _translated(GRACE_SECONDS):
            await self._thread.call(self._client.close, GRACE_SECONDS)
        await self._end(self._thread)

    async def _execute(self, intent: Any) -> None:
        # Inclusion is enough: whether it holds is seen at the next reading.
        result = await self._call(
            lambda: self._client.execute(intent, self._signer, wait_for_finalization=False)
        )
        if not result.success:
            raise ChainError(f"the chain refused: {_line(result.message)}")

    async def _call(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        with _translated(self._settings.timeout_seconds):
            return await self._thread.call(start, self._settings.timeout_seconds)

    # In the thread

    async def _read(self) -> Reading:
        graph = await self._client.subnets.metagraph(self._settings.netuid, commitments=False)
        if graph is None:
            network = self._settings.network
            raise ChainError(f"{network} has no subnet with netuid {self._settings.netuid}")
        return _reading(graph, is_beside_us(self._settings.network))

    async def _interval(self) -> int:
        found = await self._client.query(RATE_LIMIT, [self._settings.netuid])
        return max(0, int(found or 0))

    async def _prometheus(self, hotkey: str) -> Served:
        found = await self._client.query(PROMETHEUS, [self._settings.netuid, hotkey])
        if not isinstance(found, Mapping) or not int(found.get("ip") or 0):
            return Served()
        version = ipaddress.IPv6Address if int(found["ip_type"]) == 6 else ipaddress.IPv4Address
        address = endpoint(str(version(int(found["ip"]))), int(found["port"]))
        return Served(address, int(found["block"]))


class _HotkeyOnly:
    """Our hotkey as the SDK wants a signer; it has no coldkey to ask for."""

    crypto_type = SR25519
    ss58_format = SS58_PREFIX

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @property
    def ss58_address(self) -> str:
        return self._signer.ss58_address

    @property
    def public_key(self) -> bytes:
        return public_key(self._signer.ss58_address)

    def sign(self, payload: bytes) -> bytes:
        return self._signer.sign(payload)


def _reading(graph: bt.Metagraph, private: bool) -> Reading:
    raw_axons = list(graph.raw.get("axons") or [])
    served = [int(axon.get("block") or 0) if isinstance(axon, Mapping) else 0 for axon in raw_axons]
    served += [0] * (len(graph.neurons) - len(served))
    neurons = tuple(
        Neuron(
            hotkey=neuron.hotkey,
            uid=neuron.uid,
            stake=neuron.total_stake.rao / RAO,
            validator_permit=neuron.validator_permit,
            axon=_callable(neuron.axon, private),
            incentive=neuron.incentive,
            emission=neuron.emission.rao / RAO,
            registered_at=neuron.block_at_registration,
            served_at=at,
        )
        for neuron, at in zip(graph.neurons, served, strict=False)
        if neuron.hotkey != NOBODY
    )
    immunity = int(graph.raw.get("immunity_period") or 0)
    return Reading(graph.block, neurons, graph.owner_hotkey, immunity)


def _callable(axon: str | None, private: bool) -> str | None:
    """A published address where it can be called at all.

    On a public network a private one is a mistake at best: calling it would have us send signed
    requests to whatever listens in our own network.
    """
    if axon is None or not is_endpoint(axon):
        return None
    host = axon.rpartition(":")[0].strip("[]")
    return axon if private or ipaddress.ip_address(host).is_global else None


@contextlib.contextmanager
def _translated(limit_seconds: float) -> Iterator[None]:
    """Foreign failures as ours. The SDK decodes what a node sends: nonsense raises anything."""
    try:
        yield
    except (ChainError, asyncio.CancelledError):
        raise
    except TimeoutError as error:
        raise ChainError(f"no answer within {limit_seconds:g} s") from error
    except (bt.BittensorError, OSError) as error:
        raise ChainError(_line(str(error)) or type(error).__name__) from error
    except Exception as error:
        text = f"nonsense was answered: {type(error).__name__}: {_line(str(error))}"
        raise ChainError(text) from error


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_TEXT]

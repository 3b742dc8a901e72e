"""What is read of the chain, as our own values: the subnet at one block, and how we stand in it.

Nothing here talks to the chain. A reading that cannot be true (a hotkey twice, a stake below zero)
cannot be made: what a node sends is foreign input.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass

from miner.admission.peers import MAX_UID, Peer, PeersSnapshot
from miner.admission.signature import is_address

MAX_NEURONS = MAX_UID + 1


@dataclass(frozen=True)
class Neuron:
    """One registered hotkey.

    Attributes:
        hotkey: ss58 address.
        uid: its place in the subnet.
        stake: alpha, finite and not negative.
        validator_permit: whether it may act as a validator.
        axon: "ip:port" that it publishes, where that can be called.
        incentive: share of the subnet's incentive, 0 to 1.
        emission: alpha of the last tempo.
        registered_at: block of its registration.
        served_at: block at which it published its axon last; 0 for never.
    """

    hotkey: str
    uid: int
    stake: float
    validator_permit: bool
    axon: str | None = None
    incentive: float = 0.0
    emission: float = 0.0
    registered_at: int = 0
    served_at: int = 0


@dataclass(frozen=True)
class Reading:
    """A subnet at one block.

    Attributes:
        block: its number.
        neurons: all registered hotkeys.
        owner_hotkey: the subnet owner's; need not be registered.
        immunity_blocks: how long a new hotkey is safe from being replaced.

    Raises:
        ValueError: it cannot be true; the text says why.
    """

    block: int
    neurons: tuple[Neuron, ...]
    owner_hotkey: str = ""
    immunity_blocks: int = 0

    def __post_init__(self) -> None:
        if self.block <= 0:
            raise ValueError(f"block {self.block}")
        if not 0 < len(self.neurons) <= MAX_NEURONS:
            raise ValueError(f"{len(self.neurons)} hotkeys in the subnet")
        for neuron in self.neurons:
            _check(neuron)
        if len({neuron.hotkey for neuron in self.neurons}) < len(self.neurons):
            raise ValueError("a hotkey is there twice")
        if len({neuron.uid for neuron in self.neurons}) < len(self.neurons):
            raise ValueError("a uid is there twice")

    def neuron(self, hotkey: str) -> Neuron | None:
        """The neuron of this hotkey, where it is registered."""
        return next((neuron for neuron in self.neurons if neuron.hotkey == hotkey), None)

    def snapshot(self, taken_at: float) -> PeersSnapshot:
        """The peers as admission and the puller see them.

        Args:
            taken_at: ``time.monotonic()`` seconds of the reading.
        """
        owner = self.owner_hotkey
        peers = (
            Peer(n.hotkey, n.uid, n.stake, n.validator_permit, n.axon, n.hotkey == owner)
            for n in self.neurons
        )
        return PeersSnapshot.of(*peers, taken_at=taken_at)


@dataclass(frozen=True)
class Served:
    """What a hotkey has published.

    Attributes:
        address: "ip:port" or "[ipv6]:port"; None for nothing.
        block: at which it was; 0 for never.
    """

    address: str | None = None
    block: int = 0


@dataclass(frozen=True)
class Standing:
    """How one hotkey stands in the subnet. Without registration only the first three hold.

    Attributes:
        registered: whether it is.
        block: at which this was true.
        neurons: registered hotkeys in all.
        uid: its place.
        rank: 1 for the highest incentive; equal incentives share a rank.
        incentive: 0 to 1.
        emission: alpha of the last tempo.
        stake: alpha.
        immune_blocks: blocks until it may be replaced by a newcomer; 0 when it may be.
        axon: what it publishes.
    """

    registered: bool
    block: int
    neurons: int
    uid: int | None = None
    rank: int | None = None
    incentive: float = 0.0
    emission: float = 0.0
    stake: float = 0.0
    immune_blocks: int = 0
    axon: str | None = None


@dataclass(frozen=True)
class ChainState:
    """How it is with the chain, for pages and people.

    Attributes:
        network: its name or URL.
        netuid: the subnet.
        standing: ours, as last read; None before the first reading.
        failures: attempts in a row that failed.
        last_error: why the last attempt failed; None when it did not.
    """

    network: str
    netuid: int
    standing: Standing | None = None
    failures: int = 0
    last_error: str | None = None


def endpoint(ip: str, port: int) -> str:
    """An address and a port as one text, the way the chain's tools write them."""
    address = ipaddress.ip_address(ip)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def standing(reading: Reading, hotkey: str) -> Standing:
    """How ``hotkey`` stands in ``reading``."""
    count = len(reading.neurons)
    own = reading.neuron(hotkey)
    if own is None:
        return Standing(registered=False, block=reading.block, neurons=count)
    return Standing(
        registered=True,
        block=reading.block,
        neurons=count,
        uid=own.uid,
        rank=1 + sum(other.incentive > own.incentive for other in reading.neurons),
        incentive=own.incentive,
        emission=own.emission,
        stake=own.stake,
        immune_blocks=max(0, own.registered_at + reading.immunity_blocks - reading.block),
        axon=own.axon,
    )


def _check(neuron: Neuron) -> None:
    if not is_address(neuron.hotkey):
        raise ValueError(f"{neuron.hotkey[:64]!r} is no hotkey")
    if not 0 <= neuron.uid <= MAX_UID:
        raise ValueError(f"uid {neuron.uid}")
    for number in (neuron.stake, neuron.incentive, neuron.emission):
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"uid {neuron.uid} has a stake, incentive or emission of {number}")

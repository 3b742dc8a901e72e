"""Our server with the behaviour of these tests: everything true but the generation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bittensor_core import Keypair

from miner.admission.gate import Gate
from miner.admission.nonces import NonceTable
from miner.admission.peers import Peer, PeersSnapshot, PeersSource
from miner.errors import (
    BadImage,
    BadPrompt,
    DeadlineExceeded,
    DeadlineTooShort,
    Draining,
    NotReady,
    QueueFull,
)
from miner.job import MAIN
from miner.metrics import Metrics
from miner.network.axon import Axon, Handler
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.server import serve
from miner.network.synapse import Synapse
from miner.settings.admission import AdmissionSettings
from miner.settings.listening import ListenLimits
from tests.conformance.official.behaviour import results_for

MINER, VALIDATOR, DENIED = "//Miner", "//Validator", "//Denied"
"""The URIs of the keys in play."""


@dataclass(frozen=True)
class Miner:
    """A miner that listens on this machine."""

    port: int
    hotkey: str

    @property
    def address(self) -> str:
        """As clients write it."""
        return f"127.0.0.1:{self.port}"


def hotkey_of(uri: str) -> str:
    """The address of a key in play."""
    address: str = Keypair.create_from_uri(uri).ss58_address
    return address


REFUSALS = (QueueFull, Draining, NotReady, DeadlineTooShort, DeadlineExceeded, BadPrompt, BadImage)
"""What the prompt "refuse CODE" has our handler raise, in words of their own."""


async def generate(synapse: Generate3D, peer: Peer) -> Generate3D:
    """Answers as ``behaviour`` says, or refuses as our queue might."""
    for refusal in REFUSALS:
        if synapse.prompt == f"refuse {refusal.code}":
            raise refusal(f"refused: {refusal.code}")
    synapse.results = await results_for(synapse.prompt or "")
    synapse.generator = "stub"
    return synapse


async def take(synapse: TGTask, peer: Peer) -> TGTask:
    """Takes every task."""
    synapse.status = "IN QUEUE"
    return synapse


async def poll(synapse: TGPoll, peer: Peer) -> TGPoll:
    """Every task is done: its id was the prompt."""
    synapse.status, synapse.results = "DONE", await results_for(synapse.task_id)
    return synapse


HANDLERS: Mapping[type[Synapse], Handler] = {Generate3D: generate, TGTask: take, TGPoll: poll}


@asynccontextmanager
async def our_miner(
    settings: AdmissionSettings | None = None,
    limits: ListenLimits | None = None,
    handlers: Mapping[type[Synapse], Handler] = HANDLERS,
    validators: Sequence[str] = (),
) -> AsyncIterator[Miner]:
    """Listens on a free port until the block ends.

    Args:
        settings, limits: the defaults where not given.
        handlers: what answers.
        validators: hotkeys that are permitted beside the one of these tests.
    """
    settings, limits, metrics = settings or AdmissionSettings(), limits or ListenLimits(), Metrics()
    keypair = Keypair.create_from_uri(MINER)
    permitted = [
        Peer(hotkey, uid=uid, stake=5000.0, validator_permit=True)
        for uid, hotkey in enumerate([hotkey_of(VALIDATOR), *validators])
    ]
    denied = Peer(hotkey_of(DENIED), uid=len(permitted), stake=5000.0, validator_permit=False)
    peers = PeersSource(PeersSnapshot.of(*permitted, denied))
    gate = Gate(keypair.ss58_address, settings, peers, NonceTable(settings))
    axon = Axon(keypair, gate, handlers, metrics.of(MAIN), limits)
    async with serve(
        axon.handle, name="axon", host="127.0.0.1", port=0, limits=limits, metrics=metrics
    ) as listening:
        yield Miner(listening.port, keypair.ss58_address)

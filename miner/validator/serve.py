"""A validator on a socket: its service behind our axon, open to every hotkey that signs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from miner.admission.gate import Gate
from miner.admission.nonces import NonceTable
from miner.admission.peers import MAX_UID, Peer, PeersSnapshot
from miner.admission.signature import Signer
from miner.job import MAIN
from miner.metrics import Metrics
from miner.network.axon import Axon
from miner.network.server import Listening, serve
from miner.settings.admission import AdmissionSettings
from miner.settings.daemon import MIB
from miner.settings.listening import ListenLimits
from miner.validator.service import ValidatorService

LIMITS = ListenLimits(max_body_bytes=512 * MIB, body_seconds=300.0)
"""Ten million Gaussians fit."""

ADMISSION = AdmissionSettings(require_validator_permit=False, min_stake=0.0)


@dataclass(frozen=True)
class _Everybody(PeersSnapshot):
    """The peers, and in their company anybody else: the ledger tells strangers to come later."""

    def get(self, hotkey: str) -> Peer | None:
        known = super().get(hotkey)
        return known or Peer(hotkey=hotkey, uid=MAX_UID, stake=0.0, validator_permit=False)


@asynccontextmanager
async def serve_validator(
    keypair: Signer,
    service: ValidatorService,
    peers: Callable[[], PeersSnapshot],
    host: str = "127.0.0.1",
    port: int = 0,
    metrics: Metrics | None = None,
) -> AsyncIterator[Listening]:
    """Serves until the block ends; then what is being judged is finished.

    Args:
        keypair: of the service's hotkey.
        service: answers; entered and left here.
        peers: who is registered.
        host: to listen at.
        port: 0 for any free one.
        metrics: what is counted goes there.

    Raises:
        BindError: the address is taken or not ours.
    """
    metrics = metrics or Metrics()
    gate = Gate(
        keypair.ss58_address,
        ADMISSION,
        lambda: _Everybody(peers().peers),
        NonceTable(ADMISSION),
    )
    axon = Axon(keypair, gate, service.handlers(), metrics.of(MAIN), LIMITS)
    async with (
        service,
        serve(
            axon.handle, name="validator", host=host, port=port, limits=LIMITS, metrics=metrics
        ) as listening,
    ):
        yield listening

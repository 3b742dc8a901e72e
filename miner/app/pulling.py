"""The intake that pulls, joined with the rest of the daemon."""

from __future__ import annotations

from contextlib import AsyncExitStack

from miner.admission.signature import Signer
from miner.app.parts import Parts
from miner.app.rollback_executor import RollbackExecutor
from miner.network.dendrite import Dendrite
from miner.network.puller import Puller, PullParts

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Of a validator; the picture of a task takes a few megabytes."""


async def puller(
    stack: AsyncExitStack, parts: Parts, workers: RollbackExecutor, keypair: Signer
) -> Puller:
    """A puller with a client of its own, which lives as long as the stack."""
    dendrite = Dendrite(keypair, max_reply_bytes=MAX_REPLY_BYTES)
    works_with = PullParts(
        keypair,
        await stack.enter_async_context(dendrite),
        parts.queue,
        workers,
        parts.journal,
        parts.peers_source,
        parts.metrics,
    )
    daemon = parts.settings.daemon
    return Puller(works_with, daemon.pull, daemon.admission.max_peers_age_seconds)

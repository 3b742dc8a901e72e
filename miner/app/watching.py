"""Builds what watches the chain, where the settings name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from miner.admission.signature import Signer
from miner.app.parts import Parts
from miner.network.chain_memory import ChainMemory
from miner.network.chain_publish import AddressPublisher
from miner.network.chain_watch import ChainWatch
from miner.network.external_address import external_address


def chain_watch(
    parts: Parts, keypair: Signer | None, substrate: Callable[[], Any] | None = None
) -> ChainWatch | None:
    """A watch that is yet to be run; None without a chain, or without a hotkey to look for.

    Args:
        parts: the daemon's.
        keypair: our hotkey.
        substrate: stands in for the network; see ``Connections``.
    """
    daemon = parts.settings.daemon
    if keypair is None or not daemon.chain.is_live:
        return None
    # The SDK takes half a second and some 40 MiB: only who names a chain pays for it, and before
    # anybody is served.
    from miner.network.chain import Connections  # noqa: PLC0415

    hotkey = keypair.ss58_address
    publisher = None
    if "axon" in daemon.intakes:
        publisher = AddressPublisher(
            hotkey, daemon.axon, lambda: parts.addresses, parts.metrics, external_address
        )
    return ChainWatch(
        hotkey,
        daemon.chain,
        Connections(daemon.chain, keypair, substrate).open,
        parts.peers_source,
        parts.metrics,
        ChainMemory(parts.journal, daemon.chain),
        publisher,
    )

"""Builds what watches the chain for one identity, where its settings name one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from miner.admission.peers import PeersSource
from miner.admission.signature import Signer
from miner.journal import Partition
from miner.metrics import IdentityMetrics
from miner.network.chain_memory import ChainMemory
from miner.network.chain_publish import AddressPublisher
from miner.network.chain_watch import ChainWatch
from miner.network.external_address import external_address
from miner.settings import IdentitySettings


def chain_watch(
    settings: IdentitySettings,
    keypair: Signer | None,
    source: PeersSource,
    journal: Partition,
    metrics: IdentityMetrics,
    addresses: Callable[[], Mapping[str, str]],
    substrate: Callable[[], Any] | None = None,
) -> ChainWatch | None:
    """A watch that is yet to be run; None without a chain, or without a hotkey to look for.

    Args:
        settings: of the identity.
        keypair: its hotkey.
        source: given the peers.
        journal: keeps them over restarts.
        metrics: told how it stands.
        addresses: URLs of its servers by what the chain calls them.
        substrate: stands in for the network; see ``Connections``.
    """
    if keypair is None or not settings.chain.is_live:
        return None
    # The SDK takes half a second and some 40 MiB: only who names a chain pays for it, and before
    # anybody is served.
    from miner.network.chain import Connections  # noqa: PLC0415

    hotkey = keypair.ss58_address
    publisher = None
    if "axon" in settings.intakes:
        publisher = AddressPublisher(hotkey, settings.axon, addresses, metrics, external_address)
    return ChainWatch(
        hotkey,
        settings.chain,
        Connections(settings.chain, keypair, substrate).open,
        source,
        metrics,
        ChainMemory(journal, settings.chain),
        publisher,
    )

"""The chain: whether it answers, and whether it knows our hotkey."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miner.admission.signature import Signer, new_hotkey
from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, together
from miner.doctor.wallet import signer_of
from miner.errors import ChainError, ConfigError
from miner.network.chain_reading import Reading, standing
from miner.settings import ChainSettings, IdentitySettings

if TYPE_CHECKING:
    from miner.network.chain import Connections

LIMIT_SECONDS = 20.0
"""For connecting, and again for reading; a person waits, so it is less than the daemon's own."""


@dataclass(frozen=True)
class Seen:
    """What the chain answered.

    Attributes:
        reading: the subnet.
        block_at: unix seconds of the newest block.
    """

    reading: Reading
    block_at: float


async def look_at_chain(case: Case) -> Finding:
    """Reads the subnets as the daemon does."""
    return together([await _look_for(case, one) for one in case.settings.daemon.identities])


async def _look_for(case: Case, identity: IdentitySettings) -> Finding:
    chain = identity.chain
    if not chain.is_live:
        where = f"the peers stand in {chain.network}" if chain.network else "none is named"
        return skip("no chain", where)
    seen = await chain_seen(case, identity)
    if isinstance(seen, ChainError):
        line = one_line(f"{chain.network} cannot be read: {seen}")
        reason = "the last reading serves until admission.max_peers_age_seconds"
        return fail(line, reason, "see chain.network, the network, and the node's own state")
    try:
        signer = await signer_of(case, identity)
    except ConfigError:
        count = len(seen.reading.neurons)
        return ok(f"{chain.network} answers: netuid {chain.netuid} has {count} hotkeys")
    return judge(seen.reading, signer, chain.netuid, chain.network)


def judge(reading: Reading, signer: Signer, netuid: int, network: str) -> Finding:
    """Whether our hotkey has a place."""
    own = standing(reading, signer.ss58_address)
    if own.registered:
        return ok(f"uid {own.uid} of netuid {netuid} on {network}, block {own.block:,}")
    line = f"{signer.ss58_address} is not registered on netuid {netuid} of {network}"
    return fail(line, "validators call and pay registered hotkeys", "register it with btcli")


async def chain_seen(case: Case, identity: IdentitySettings) -> Seen | ChainError:
    """What an identity's chain answered, or why it did not; each subnet is asked once."""
    chain = identity.chain
    return await case.once(f"chain {chain.network} {chain.netuid}", lambda: _read(case, identity))


async def _read(case: Case, identity: IdentitySettings) -> Seen | ChainError:
    # The SDK takes half a second to load: not in the loop, and only where a chain is named.
    signer = await _signer(case, identity)
    connections = await in_thread(_connections, case, identity.chain, signer)
    try:
        async with asyncio.timeout(2 * LIMIT_SECONDS):
            connection = await connections.open()
            try:
                return Seen(await connection.read(), await connection.block_timestamp())
            finally:
                await connection.close()
    except ChainError as error:
        return error
    except TimeoutError:
        return ChainError(f"no answer within {2 * LIMIT_SECONDS:g} s")


def _connections(case: Case, chain: ChainSettings, signer: Signer) -> Connections:
    from miner.network.chain import Connections  # noqa: PLC0415 - see above

    limit = min(chain.timeout_seconds, LIMIT_SECONDS)
    quick = chain.model_copy(update={"timeout_seconds": limit})
    return Connections(quick, signer, case.substrate)


async def _signer(case: Case, identity: IdentitySettings) -> Signer:
    """Ours; any other will do for reading where ours cannot be opened."""
    try:
        return await signer_of(case, identity)
    except ConfigError:
        return new_hotkey()

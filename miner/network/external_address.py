"""Which address the world sees us under, asked of public services; only where settings say so.

Each service answers with the address that our request came from, as plain text. One of them may be
wrong, so two have to agree. Nothing is sent but the request itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Sequence

import aiohttp

from miner.errors import ChainError

SERVICES = (
    "https://checkip.amazonaws.com",
    "https://api.ipify.org",
    "https://icanhazip.com",
    "https://ifconfig.me/ip",
)
AGREEING = 2
LIMIT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256


async def external_address(
    services: Sequence[str] = SERVICES, limit_seconds: float = LIMIT_SECONDS
) -> str:
    """The public address that enough services agree on, IPv4 or IPv6.

    Args:
        services: URLs to ask, all at once.
        limit_seconds: for all together.

    Raises:
        ChainError: too few answered, or they differ.
    """
    timeout = aiohttp.ClientTimeout(total=limit_seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        answers = await asyncio.gather(*(_ask(session, service) for service in services))
    votes = Counter(answer for answer in answers if answer is not None)
    if votes:
        address, count = votes.most_common(1)[0]
        if count >= AGREEING:
            return address
    raise ChainError(
        f"our external address is not known: {sum(votes.values())} of {len(services)} services "
        f"answered, with {len(votes)} addresses; set axon.external_ip"
    )


async def _ask(session: aiohttp.ClientSession, service: str) -> str | None:
    """What one service says; None where that is no public address."""
    try:
        async with session.get(service, allow_redirects=False) as reply:
            if reply.status != 200:
                return None
            text = (await reply.content.read(MAX_ANSWER_BYTES)).decode("ascii").strip()
        address = ipaddress.ip_address(text)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    return str(address) if address.is_global else None

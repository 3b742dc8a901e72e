"""How far our clock is from that of a server on the network, by the Date of its HTTP answers.

Any answer will do, a refusal as well. The header counts whole seconds, so the result is good to
about half a second and half the way there and back. Nothing here sets a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from miner.errors import ChainError

LIMIT_SECONDS = 5.0
PLAIN = {"ws": "http", "wss": "https"}


@dataclass(frozen=True)
class Offset:
    """Our clock less another one.

    Attributes:
        seconds: above zero where ours is ahead.
        uncertainty_seconds: by how much that may be wrong.
        source: whose clock it was compared with.
    """

    seconds: float
    uncertainty_seconds: float
    source: str


async def clock_offset(
    url: str,
    wall_clock: Callable[[], float] = time.time,
    limit_seconds: float = LIMIT_SECONDS,
) -> Offset:
    """Asks one server.

    Args:
        url: http, https, ws or wss; of the last two the server's front page is asked.
        wall_clock: unix seconds of our clock.
        limit_seconds: for the whole conversation.

    Raises:
        ChainError: it was not reached in time, or its answer has no date.
    """
    parts = urlsplit(url)
    page = urlunsplit((PLAIN.get(parts.scheme, parts.scheme), parts.netloc, "/", "", ""))
    source = parts.hostname or url
    timeout = aiohttp.ClientTimeout(total=limit_seconds)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            asked = wall_clock()
            async with session.get(page, allow_redirects=False) as reply:
                answered = wall_clock()
                theirs = parsedate_to_datetime(reply.headers.get("Date", "")).timestamp()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ChainError(f"{source} did not answer: {error or type(error).__name__}") from error
    except ValueError as error:
        raise ChainError(f"{source} does not say what time it is") from error
    way = max(0.0, answered - asked) / 2
    return Offset((asked + answered) / 2 - (theirs + 0.5), 0.5 + way, source)

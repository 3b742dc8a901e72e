"""The last snapshot of the peers over restarts, for a daemon that starts while the chain is out.

It is kept as one small fact of the journal, with the wall clock's time, and is as old after a
restart as it would have been without one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Protocol

from miner.admission.peers import Peer, PeersSnapshot
from miner.settings.subnet import ChainSettings

KEY = "chain.peers"
MAX_AHEAD_SECONDS = 60.0
"""A snapshot further in the future was dated by a wrong clock, and is not used."""


class Facts(Protocol):
    """What is used of the journal."""

    async def state(self, key: str) -> str | None:
        """A small fact by name."""

    def set_state(self, key: str, value: str) -> None:
        """Keeps a small fact, without waiting."""


class ChainMemory:
    """Keeps and recalls the peers of one subnet.

    Args:
        facts: where to.
        settings: name the subnet; peers of another are not recalled.
        clock: ``time.monotonic`` seconds.
        wall_clock: unix seconds.
    """

    def __init__(
        self,
        facts: Facts,
        settings: ChainSettings,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._facts = facts
        self._subnet = f"{settings.network}#{settings.netuid}"
        self._clock = clock
        self._wall_clock = wall_clock

    def keep(self, snapshot: PeersSnapshot) -> None:
        """Keeps a snapshot that ages, in the place of the one before."""
        age = snapshot.age_seconds(self._clock())
        peers = [
            [p.hotkey, p.uid, p.stake, p.validator_permit, p.axon, p.owner]
            for p in snapshot.peers.values()
        ]
        document = {"subnet": self._subnet, "at": self._wall_clock() - age, "peers": peers}
        self._facts.set_state(KEY, json.dumps(document))

    async def recall(self) -> PeersSnapshot | None:
        """What was kept, of this subnet; None where there is nothing of use."""
        text = await self._facts.state(KEY)
        try:
            document = json.loads(text or "null")
            if document["subnet"] != self._subnet:
                return None
            age = self._wall_clock() - float(document["at"])
            peers = [Peer(*fields) for fields in document["peers"]]
        except (ValueError, TypeError, KeyError):  # of an earlier version, or nothing at all
            return None
        if not math.isfinite(age) or age < -MAX_AHEAD_SECONDS:
            return None
        return PeersSnapshot.of(*peers, taken_at=self._clock() - max(0.0, age))

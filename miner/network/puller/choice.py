"""Which validator is asked next: the one that has been waiting longest, and the owner's share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from miner.admission.peers import Peer, PeersSnapshot
from miner.settings.pull import PullSettings


def eligible(snapshot: PeersSnapshot, miner: str, settings: PullSettings) -> tuple[Peer, ...]:
    """The peers that may be asked at all, in the snapshot's order.

    A validator serves, and has stake enough; its permit is not asked for, as those of the subnet
    give tasks without one. Names in ``settings.validators`` need no stake.

    Args:
        snapshot: of the subnet.
        miner: our own hotkey, which is not asked.
        settings: who is wanted.
    """
    return tuple(
        peer
        for peer in snapshot.peers.values()
        if peer.axon is not None
        and peer.hotkey != miner
        and peer.hotkey not in settings.deny
        and (
            peer.hotkey in settings.validators
            if settings.validators
            else peer.stake >= settings.min_stake
        )
    )


class Turns:
    """Whose turn it is. Counts turns, for the owner's share; knows nothing else.

    Args:
        settings: the owner and its share.
    """

    def __init__(self, settings: PullSettings) -> None:
        self._settings = settings
        self._taken = 0

    def next(self, ready: Iterable[Peer], waiting: Callable[[Peer], float]) -> Peer | None:
        """The peer that is asked next; None where there is none.

        Every ``owner_share``-th turn is the owner's, if it is ready. All others go to whoever has
        been waiting longest, of two alike to the larger stake.

        Args:
            ready: those that may be asked now.
            waiting: for how long a peer has been ready, seconds.
        """
        candidates = list(ready)
        if not candidates:
            return None
        return self._owner(candidates) or max(
            candidates, key=lambda peer: (waiting(peer), peer.stake)
        )

    def taken(self) -> None:
        """A turn was used."""
        self._taken += 1

    def _owner(self, candidates: Iterable[Peer]) -> Peer | None:
        share = self._settings.owner_share
        if not share or (self._taken + 1) % share:
            return None
        owner = self._settings.owner_hotkey
        return next((peer for peer in candidates if peer.hotkey == owner), None)

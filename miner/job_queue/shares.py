"""How the places of the queue are shared out between identities: nobody can fill it for all."""

from __future__ import annotations

import math
from collections.abc import Mapping

OTHERS_SHARE = 1.0
"""Of an identity that is named nowhere: of jobs that a daemon with other settings has left."""


class Shares:
    """What each identity may have of the workers' time and of the queue.

    Args:
        shares: by name, above 0; empty where there is but one.

    Attributes:
        shares: may be replaced at any time; holds for what comes afterwards.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = shares

    def __call__(self, identity: str) -> float:
        """The share of one."""
        return self.shares.get(identity, OTHERS_SHARE)

    def places(self, identity: str, places: int) -> int:
        """How many of so many places are one identity's; at least one, and never less in all."""
        total = sum(self.shares.values())
        if len(self.shares) <= 1:
            return places
        return max(1, math.ceil(places * self(identity) / total))

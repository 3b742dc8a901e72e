"""Which generator each worker holds where they are spread by plan. Arithmetic alone.

A worker holds one generator, or all of them where there is no plan. As many workers as have come
are as near the plan as whole numbers allow, but for one thing: no generator is without a worker
while another has two, for the weights say how the work is shared and not what can be done without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from miner.settings import RollbackSettings, WorkerSettings

ALL = ""
"""In place of a name: every generator there is."""


@dataclass(frozen=True)
class Spread:
    """The plan.

    Attributes:
        weights: of the workers by the generator that they hold, the primary first; empty has every
            worker hold all.
    """

    weights: Mapping[str, int]

    @classmethod
    def of(cls, worker: WorkerSettings, rollback: RollbackSettings) -> Spread:
        """The plan of the settings."""
        first = sorted(worker.spread, key=lambda name: name != rollback.primary)
        return cls({name: worker.spread[name] for name in first})

    def next(self, held: Iterable[str]) -> str:
        """What one more worker should hold.

        What nobody holds comes first; then what is the farthest behind its share, of equals the
        one that the plan has first.

        Args:
            held: what the workers hold that there are.
        """
        if not self.weights:
            return ALL
        counts = Counter(held)
        if (missing := self._missing(counts)) is not None:
            return missing
        workers = 1 + sum(counts[name] for name in self.weights)
        return max(self.weights, key=lambda name: -self._ahead(name, counts, workers))

    def first(self, count: int) -> list[str]:
        """What so many workers hold, in the order in which they come."""
        held: list[str] = []
        for _ in range(count):
            held.append(self.next(held))
        return held

    def change(self, held: Sequence[str]) -> tuple[int, str] | None:
        """Which worker should hold something else, and what; None while nothing is missing.

        Args:
            held: what the workers hold that are left, those first that change the easiest.
        """
        counts = Counter(held)
        spare = [name for name in self.weights if counts[name] > 1]
        missing = self._missing(counts)
        if missing is None or not spare:
            return None
        workers = sum(counts[name] for name in self.weights)
        giver = max(spare, key=lambda name: self._ahead(name, counts, workers))
        return held.index(giver), missing

    def _missing(self, counts: Counter[str]) -> str | None:
        return next((name for name in self.weights if not counts[name]), None)

    def _ahead(self, name: str, counts: Counter[str], workers: int) -> int:
        """How far beyond its share of so many workers it is; one worker is the sum of weights."""
        return counts[name] * sum(self.weights.values()) - self.weights[name] * workers

"""The numbers by which the subnet's validators treat miners, and the arithmetic of cooldowns.

Times are unix seconds. As the validators do, cooldowns end on whole seconds, rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What became of a submission; in the order in which a validator asks."""

    WRONG_TASK = "wrong task"
    BAD_SIGNATURE = "bad signature"
    EMPTY = "empty"
    LOCKED = "locked"
    UNJUDGED = "not judged"
    TOO_SOON = "too soon"
    REJECTED = "rejected"
    ACCEPTED = "accepted"

    @property
    def final(self) -> bool:
        """Whether the task is over with it; after the others it stays assigned."""
        return self not in (Verdict.WRONG_TASK, Verdict.LOCKED, Verdict.TOO_SOON)


@dataclass(frozen=True)
class Rules:
    """How a validator is set up; the defaults are the subnet's.

    Attributes:
        throttle_seconds: a generation may take this long without lengthening the cooldown.
        cooldown_seconds: between two tasks of one miner.
        penalty_seconds: longer, after a bad signature and after a score under the threshold.
        free_violations: pulls during a cooldown that cost nothing.
        violation_seconds: what each further one adds to the cooldown.
        threshold: the least score that is accepted.
        lock_seconds: after a submission was taken for judging, others of that miner are ignored.
        average_weight: of the newest score in the smoothed one.
        window_seconds: how long an accepted result counts for the reward.
        unregistered_seconds: told as cooldown to hotkeys that are not registered.
        rating: of every miner: there are no duels here.
    """

    throttle_seconds: int = 30
    cooldown_seconds: int = 300
    penalty_seconds: int = 600
    free_violations: int = 100
    violation_seconds: int = 10
    threshold: float = 0.6
    lock_seconds: int = 30
    average_weight: float = 0.05
    window_seconds: int = 4 * 3600
    unregistered_seconds: int = 3600
    rating: float = 1500.0

    def cooldown_until(self, now: float, assigned_at: float | None, *, penalty: bool) -> int:
        """When a miner whose task ends now may pull again.

        Args:
            now: unix seconds.
            assigned_at: of the task; None where it was over already.
            penalty: whether the submission deserves one.
        """
        seconds = self.cooldown_seconds + (self.penalty_seconds if penalty else 0)
        if assigned_at is None:
            return int(now) + seconds
        return int(max(now + seconds - self.throttle_seconds, assigned_at + seconds))

    def is_repeat(self, now: float, last_success_at: int) -> bool:
        """Whether a result comes too soon after an accepted one to be another task's."""
        return last_success_at + self.cooldown_seconds - self.throttle_seconds > now


PENALIZED = (Verdict.BAD_SIGNATURE, Verdict.REJECTED)
"""After these the cooldown is longer."""

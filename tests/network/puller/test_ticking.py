"""Waits that hold although no two readings of a clock are the same."""

from __future__ import annotations

import asyncio

from miner.validator.rules import Rules, Verdict
from tests.network.puller.virtual import VirtualLoop
from tests.network.puller.world import Validator, World, a_validator


class TickingLoop(VirtualLoop):
    """Each look at the clock takes a moment, as it does in life."""

    def time(self) -> float:
        self.selector.now += 1e-6
        return self.selector.now


def live(validator: Validator, seconds: float) -> None:
    """A miner works for the validator that long."""

    async def run() -> None:
        async with World(validator, seconds=1.0):
            await asyncio.sleep(seconds)

    with asyncio.Runner(loop_factory=TickingLoop) as runner:
        runner.run(run())


def test_a_validator_without_tasks_is_left_in_peace() -> None:
    """No task and no cooldown: asked again once a minute, not at once."""
    validator = a_validator(tasks=lambda number: None)

    live(validator, 600.0)

    assert 9 <= len(validator.calls) <= 12


def test_an_ignored_result_is_not_brought_again_at_once() -> None:
    """A validator that still holds its lock is asked after a while, and nothing is lost."""
    rules = Rules(cooldown_seconds=5, throttle_seconds=2, lock_seconds=30)
    validator = a_validator(rules=rules)

    live(validator, 600.0)

    verdicts = validator.account.verdicts
    assert verdicts[Verdict.ACCEPTED] >= 10
    assert verdicts[Verdict.LOCKED] <= 6 * verdicts[Verdict.ACCEPTED]

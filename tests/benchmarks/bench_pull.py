"""How near one miner keeps its validators to their ceiling of tasks, in simulated time.

    python -m tests.benchmarks.bench_pull

Validators keep the subnet's own rules (300 s between two tasks of a miner, 30 s of generation
free), the puller and the queue are the real ones, the clock is a simulated one. The ceiling is a
task each 300 s and validator, or what the GPU can make, whichever is less.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import structlog

from miner.validator.rules import Verdict
from tests.network.puller.virtual import run_virtual
from tests.network.puller.world import World, a_validator

HOURS = 4
CYCLE_SECONDS = 300.0
TARGET = 0.99


@dataclass(frozen=True)
class Case:
    """So many validators, and a generator that takes so long, on so many GPUs."""

    validators: int
    seconds: float
    workers: int = 1

    @property
    def ceiling(self) -> float:
        """Tasks in all, at best."""
        made = self.workers * HOURS * 3600.0 / self.seconds
        return min(self.validators * HOURS * 3600.0 / CYCLE_SECONDS, made)


CASES = (
    Case(10, 20.0),
    Case(10, 27.0),
    Case(10, 40.0),
    Case(20, 20.0),
    Case(20, 20.0, workers=2),
)


async def run(case: Case) -> tuple[int, int, int, float]:
    """Tasks accepted, the fewest of a validator, early pulls, share of time the GPUs worked."""
    validators = [a_validator(number) for number in range(case.validators)]
    async with World(*validators, seconds=case.seconds, workers=case.workers) as world:
        await asyncio.sleep(HOURS * 3600.0)
        accepted = [each.account.verdicts[Verdict.ACCEPTED] for each in validators]
        early = sum(each.account.early_pulls for each in validators)
        busy = world.gpu.busy_seconds / (case.workers * HOURS * 3600.0)
        return sum(accepted), min(accepted), early, busy


def main() -> None:
    """Print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"pulling for {HOURS} simulated hours; target: {TARGET:.0%} of the ceiling, none early")
    heading = f"{'validators':>10}{'generator':>11}{'GPUs':>6}{'ceiling':>9}{'accepted':>10}"
    print(f"{heading}{'share':>8}{'least':>7}{'early':>7}{'GPU busy':>10}{'real s':>8}")
    for case in CASES:
        started = time.perf_counter()
        accepted, least, early, busy = run_virtual(run(case))
        row = f"{case.validators:>10}{case.seconds:>9.0f} s{case.workers:>6}{case.ceiling:>9.0f}"
        row += f"{accepted:>10}{accepted / case.ceiling:>8.1%}{least:>7}{early:>7}{busy:>10.1%}"
        print(f"{row}{time.perf_counter() - started:>8.1f}", flush=True)


if __name__ == "__main__":
    main()

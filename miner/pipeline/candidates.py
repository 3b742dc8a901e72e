"""The best of several candidates, as long as the time for them costs nothing.

The subnet does not pay for speed below a limit, and pays for quality: time left over goes into
other seeds where the self-check doubts the first. A caller that wants its own seed gives no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from miner.errors import BadOutput
from miner.job import MAX_SEED
from miner.pipeline.result import GenerationResult
from miner.settings import SelfCheckSettings

OTHERS_STAGE = "other_candidates"
"""In the timings: seconds that went into candidates not taken."""

_SEED_STRIDE = 0x9E3779B97F4A7C15
"""Far from the small differences between the seeds that callers choose."""


def candidate_seed(seed: int, index: int) -> int:
    """The seed of a candidate; the first one's is the caller's own."""
    return (seed + index * _SEED_STRIDE) % (MAX_SEED + 1)


def best_candidate(
    make: Callable[[int], GenerationResult],
    seed: int,
    settings: SelfCheckSettings,
    free_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> GenerationResult:
    """Makes candidates until one passes, the time is up, or enough were made.

    Another is begun only if one as slow as the slowest so far would end in time. A candidate that
    cannot be used at all counts as one, and is passed over.

    Args:
        make: makes one with a seed.
        seed: of the first.
        settings: threshold and number of candidates.
        free_seconds: from now on.
        clock: monotonic seconds.

    Returns:
        The first that reaches the threshold, else the one with the highest score, the earlier one
        if scores are equal.

    Raises:
        BadOutput: none could be used; the first one's.
        StageError, JobCancelled: as ``make`` raises them.
    """
    start = clock()
    best: GenerationResult | None = None
    failure: BadOutput | None = None
    slowest, made = 0.0, 0
    while made == 0 or (made < settings.best_of and clock() - start + slowest <= free_seconds):
        begun = clock()
        try:
            found = make(candidate_seed(seed, made))
        except BadOutput as error:
            failure = failure or error
        else:
            best = found if best is None or _score(found) > _score(best) else best
        made += 1
        slowest = max(slowest, clock() - begun)
        if best is not None and _score(best) >= settings.threshold:
            break
    if best is None:
        assert failure is not None
        raise failure
    others = clock() - start - sum(best.timings.values())
    timings = {**best.timings, OTHERS_STAGE: max(0.0, others)} if made > 1 else best.timings
    return replace(best, candidates=made, timings=timings)


def _score(result: GenerationResult) -> float:
    """A check that did not work doubts nothing."""
    return 1.0 if result.check is None else result.check.score

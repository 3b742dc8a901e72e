"""Which of several candidates is taken, and when no other is begun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import BadOutput, JobCancelled, OutOfMemory
from miner.job import MAX_SEED
from miner.pipeline.candidates import OTHERS_STAGE, best_candidate, candidate_seed
from miner.pipeline.pipeline import GenerationResult
from miner.pipeline.selfcheck import Verdict
from miner.settings import SelfCheckSettings

Outcome = float | None | Exception


def settings(best_of: int = 4, threshold: float = 0.6) -> SelfCheckSettings:
    return SelfCheckSettings(mode="on", weights="w", best_of=best_of, threshold=threshold)


class Line:
    """Makes what it was told to, at a price, and keeps the time."""

    def __init__(self, outcomes: list[Outcome], seconds: float = 2.0) -> None:
        self.outcomes, self.seconds = outcomes, seconds
        self.now, self.seeds = 100.0, []

    def clock(self) -> float:
        return self.now

    def make(self, seed: int) -> GenerationResult:
        self.now += self.seconds
        self.seeds.append(seed)
        outcome = self.outcomes[len(self.seeds) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        nothing: Any = None
        return GenerationResult(
            **dict.fromkeys(
                ("prompt", "picture", "cutout", "framed", "surface", "quality", "fidelity"),
                nothing,
            ),
            gaussians=nothing,
            seed=seed,
            timings={"surface": self.seconds},
            check=None if outcome is None else Verdict(outcome, outcome, ()),
        )

    def best(self, free_seconds: float = 100.0, **keys: Any) -> GenerationResult:
        return best_candidate(self.make, 7, settings(**keys), free_seconds, self.clock)


def test_the_first_that_passes_is_taken_at_once() -> None:
    """A candidate at the threshold ends the search."""
    line = Line([0.6, 0.9])

    found = line.best()

    assert (found.seed, found.candidates, found.timings) == (7, 1, {"surface": 2.0})


def test_others_are_tried_while_time_is_free() -> None:
    """Below the threshold another seed is tried; the timings say what the others took."""
    line = Line([0.1, 0.0, 0.7])

    found = line.best()

    assert found.candidates == 3
    assert line.seeds == [7, candidate_seed(7, 1), candidate_seed(7, 2)]
    assert found.seed == line.seeds[2]
    assert found.timings == {"surface": 2.0, OTHERS_STAGE: 4.0}


def test_the_best_is_kept_when_none_passes() -> None:
    """The highest score wins though it came first, and the earlier of two equal ones."""
    assert Line([0.2, 0.5, 0.5, 0.4]).best().seed == candidate_seed(7, 1)


@pytest.mark.parametrize(("free", "made"), [(0.0, 1), (3.9, 1), (4.0, 2), (7.9, 3), (50.0, 4)])
def test_no_candidate_is_begun_that_would_end_too_late(free: float, made: int) -> None:
    """Each takes two seconds: the next is begun only with two free seconds left."""
    line = Line([0.0] * 4)

    assert line.best(free).candidates == made


def test_a_useless_candidate_is_passed_over() -> None:
    """A picture without an object costs its time, and the next seed may be better."""
    found = Line([BadOutput("background", "no object"), 0.7]).best()

    assert found.candidates == 2


def test_when_all_are_useless_the_first_reason_is_given() -> None:
    """The caller's own seed is what failed; what failed after it is of less interest."""
    outcomes: list[Outcome] = [BadOutput("background", f"reason {i}") for i in range(4)]

    with pytest.raises(BadOutput, match="reason 0"):
        Line(outcomes).best()


@pytest.mark.parametrize("error", [JobCancelled("gone"), OutOfMemory("surface", "none left")])
def test_other_failures_end_the_search(error: Exception) -> None:
    """A withdrawn job and a full device are not a matter of seeds."""
    line = Line([0.1, error, 0.9])

    with pytest.raises(type(error)):
        line.best()
    assert len(line.seeds) == 2


def test_without_a_verdict_there_is_no_doubt() -> None:
    """A check that did not work does not cost further candidates."""
    assert Line([None, 0.9]).best().candidates == 1


scores = st.lists(st.floats(0, 1), min_size=6, max_size=6)


@given(scores, st.integers(1, 6), st.floats(0, 20), st.floats(0, 1))
def test_what_is_taken_is_the_best_of_what_was_made(
    made: list[float], best_of: int, free: float, threshold: float
) -> None:
    """Never more than allowed, never past the free time but for the first, never a worse one."""
    line = Line(list(made))

    found = line.best(free, best_of=best_of, threshold=threshold)

    assert found.candidates == len(line.seeds) <= best_of
    assert found.check is not None
    assert found.check.score == max(made[: len(line.seeds)])
    assert line.now - 100.0 <= max(free, 2.0)
    assert all(score < threshold for score in made[: len(line.seeds) - 1])


@given(st.integers(0, MAX_SEED), st.integers(0, 40))
def test_seeds_of_candidates(seed: int, index: int) -> None:
    """They are valid seeds, differ from each other, and the first is the caller's."""
    different: Callable[[int], int] = lambda i: candidate_seed(seed, i)  # noqa: E731

    assert different(0) == seed
    assert 0 <= different(index) <= MAX_SEED
    assert len({different(i) for i in range(41)}) == 41

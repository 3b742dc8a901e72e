"""The plan of who holds what: as near its weights as whole numbers allow, who comes or goes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.settings import RollbackSettings, WorkerSettings
from miner.workers.spread import ALL, Spread

WEIGHTS = st.integers(1, 50)
PLANS = st.lists(WEIGHTS, min_size=1, max_size=4).map(
    lambda weights: Spread({f"generator {n}": weight for n, weight in enumerate(weights)})
)


def test_three_and_one() -> None:
    """Each has one first, then the larger share grows, and eight workers are two times the plan."""
    held = Spread({"triposr": 3, "dreamgaussian": 1}).first(8)

    assert held[:4] == ["triposr", "dreamgaussian", "triposr", "triposr"]
    assert Counter(held) == {"triposr": 6, "dreamgaussian": 2}


def test_the_primary_is_first_wherever_it_stands() -> None:
    """One worker alone holds the generator in use, whatever its weight."""
    worker = WorkerSettings(spread={"dreamgaussian": 5, "triposr": 1})
    spread = Spread.of(worker, RollbackSettings())

    assert spread.first(1) == ["triposr"]


def test_without_a_plan_all_hold_all() -> None:
    """Nothing is shared out, and nobody changes over."""
    spread = Spread.of(WorkerSettings(), RollbackSettings())

    assert spread.first(2) == [ALL, ALL]
    assert spread.change([ALL, ALL]) is None


@settings(deadline=None)
@given(WEIGHTS, WEIGHTS, st.integers(1, 300))
def test_two_generators_are_within_half_a_worker(one: int, other: int, workers: int) -> None:
    """No other whole numbers are nearer, but where a generator would have no worker at all."""
    counts = Counter(Spread({"a": one, "b": other}).first(workers))
    off = abs(counts["a"] * (one + other) - one * workers) / (one + other)

    assert counts.total() == workers
    assert off <= 0.5 or min(counts["a"], counts["b"]) <= 1


@settings(deadline=None)
@given(PLANS, st.integers(0, 200))
def test_no_generator_has_a_worker_too_many(spread: Spread, workers: int) -> None:
    """Of any number none is a whole worker beyond its share, unless that one is its only one."""
    counts, total = Counter(spread.first(workers)), sum(spread.weights.values())

    for name, weight in spread.weights.items():
        assert counts[name] <= 1 or counts[name] - weight * workers / total < 1
        assert counts[name] or workers < len(spread.weights)


@settings(deadline=None)
@given(PLANS, st.integers(0, 60), st.data())
def test_after_a_loss_each_generator_has_a_worker_again(
    spread: Spread, workers: int, data: st.DataObject
) -> None:
    """As far as there are workers; no more of them change over than generators were lost."""
    held = data.draw(st.permutations(spread.first(workers)))
    held = held[: data.draw(st.integers(0, workers))]
    lost = spread.weights.keys() - set(held)
    changes = 0
    while (change := spread.change(held)) is not None:
        index, share = change
        assert held.count(held[index]) > 1
        held[index] = share
        changes += 1

    assert changes <= len(lost)
    missing = spread.weights.keys() - set(held)
    assert not missing or max(Counter(held).values(), default=0) <= 1


@settings(deadline=None)
@given(PLANS, st.integers(2, 40), st.data())
def test_the_first_that_can_changes_over(spread: Spread, workers: int, data: st.DataObject) -> None:
    """Of the workers of the generator that gives one up, the one that is named first."""
    held = data.draw(st.lists(st.sampled_from(sorted(spread.weights)), min_size=workers))
    change = spread.change(held)

    if change is not None:
        assert change[0] == held.index(held[change[0]])


@pytest.mark.parametrize(
    ("held", "change"),
    [
        ([], None),
        (["triposr"], None),
        (["dreamgaussian"], None),
        (["dreamgaussian", "dreamgaussian"], (0, "triposr")),
        (["triposr", "triposr", "triposr"], (0, "dreamgaussian")),
    ],
)
def test_who_changes_over(held: list[str], change: tuple[int, str] | None) -> None:
    """Only where one generator is left without and another has more than one."""
    assert Spread({"triposr": 3, "dreamgaussian": 1}).change(held) == change

"""The judgement of memory on made-up series: what is a leak, what is a step, what is too short."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.soak.memory import (
    LEAST_SECONDS,
    MIB,
    WARM_SECONDS,
    Memory,
    Seen,
    grows,
    memory,
)

EVERY = 0.5
MINUTES = 300.0
LOADED = 800 * MIB


def of(
    mib: Callable[[float], float],
    seconds: float = MINUTES,
    ready_at: float = 0.0,
    every: float = EVERY,
) -> Memory:
    """A worker's life of so many seconds, with these MiB above what it loaded at each of them."""
    return memory(
        Seen(1, n * every, int(LOADED + mib(n * every) * MIB), n * every >= ready_at)
        for n in range(int(seconds / every) + 1)
    )


def leaks(found: Memory) -> bool:
    """Whether a life that was long enough grew too much as a worker."""
    assert found.growths, "too short to judge"
    return any(grows("worker", one) for one in found.growths)


@pytest.mark.parametrize("at", [15.0, 60.0, 150.0, 240.0, 290.0])
def test_a_step_is_no_slope(at: float) -> None:
    """What the first job of another generator adds stays, and is no leak wherever it comes."""
    assert not leaks(of(lambda now: 282.0 if now >= at else 0.0))


def test_two_steps_are_no_slope() -> None:
    """The first jobs of two generators, in different parts of a life."""
    assert not leaks(of(lambda now: 200.0 * (now >= 80) + 200.0 * (now >= 150)))


@pytest.mark.parametrize("mib_a_second", [0.3, 0.5, 8.0])
def test_a_steady_slope_is_found(mib_a_second: float) -> None:
    """A growth that goes on to the end is a leak."""
    assert leaks(of(lambda now: now * mib_a_second))


def test_a_slope_is_found_beside_a_step() -> None:
    """A step does not hide that the rest grows."""
    assert leaks(of(lambda now: 0.5 * now + (282.0 if now >= 150 else 0.0)))


def test_many_steps_are_a_leak() -> None:
    """Each fault adds a block that is not given back: flat in between, and still without an end."""
    assert leaks(of(lambda now: 90.0 * (now // 20), MINUTES))


def test_a_night_of_rare_steps_is_a_leak() -> None:
    """A block every two hours is too rare for a slope; the sum of the steps shows it."""
    assert leaks(of(lambda now: 282.0 * (now // 7200), 12 * 3600.0, every=30.0))


def test_spikes_are_no_slope() -> None:
    """Single high samples, of a job under way, are neither a slope nor a step."""
    assert not leaks(of(lambda now: 900.0 if now % 20 == 0 else 0.0))


def test_what_is_loaded_before_it_is_ready_is_no_growth() -> None:
    """On a busy machine a worker loads for far longer than the warm time."""
    ready = 120.0

    assert not leaks(of(lambda now: min(0.0, 6 * (now - ready)), MINUTES, ready))


def test_a_short_life_is_not_judged() -> None:
    """Seventeen seconds are no slope, whatever they hold; how long it was is known."""
    found = of(lambda now: 16.0 * now, WARM_SECONDS + 17.0)

    assert not found.growths
    assert found.longest_seconds == 17.0


@pytest.mark.parametrize("every", [1.5, 60.0])
def test_few_samples_are_not_judged(every: float) -> None:
    """Minutes with a sample now and then show no slope."""
    assert not of(lambda now: now, WARM_SECONDS + LEAST_SECONDS, every=every).growths


def test_a_gap_that_takes_a_part_is_not_judged() -> None:
    """Parts without samples have no slope."""
    seen = [Seen(1, at / 10, at * MIB, True) for at in range(1000)]
    late = [Seen(1, at / 10, at * MIB, True) for at in range(10_000, 10_100)]

    assert not memory([*seen, *late]).growths


def test_each_life_is_judged_by_itself() -> None:
    """The second process begins elsewhere, and what it began with is no growth."""
    lives = [Seen(at >= 200, at / 1.0, (at >= 200) * 900 * MIB, True) for at in range(400)]
    found = memory(lives)

    assert len(found.growths) == 2
    assert not leaks(found)
    assert memory([Seen(None, 1.0, 1, True), Seen(1, 1.0, None, True)]).longest_seconds == 0.0

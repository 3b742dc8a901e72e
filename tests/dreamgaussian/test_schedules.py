from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.dreamgaussian.schedules import (
    Pace,
    crossed,
    learning_rates,
    noise_step,
    position_rate,
    view_size,
)
from miner.dreamgaussian.settings import RateSettings, ViewSettings


def test_position_rate_falls_from_first_to_last() -> None:
    """Log-linear between its ends, constant after them, and higher by a factor from a random
    start.
    """
    rates = RateSettings(position_lr_max_steps=100)
    assert position_rate(rates, 0, False) == pytest.approx(1e-3)
    assert position_rate(rates, 50, False) == pytest.approx(math.sqrt(1e-3 * 2e-5))
    assert position_rate(rates, 400, False) == pytest.approx(2e-5)
    assert position_rate(rates, 400, True) == pytest.approx(2e-4)
    assert learning_rates(rates, 0, False) == pytest.approx((1e-3, 5e-3, 5e-3, 5e-2, 1e-2))


def test_views_grow() -> None:
    """Each size holds from its share of the fit on."""
    views = ViewSettings()
    sizes = [view_size(views, share) for share in (0.0, 0.29, 0.3, 0.59, 0.6, 1.0)]
    assert sizes == [128, 128, 256, 256, 512, 512]


def test_noise_falls_and_is_cut() -> None:
    """The time step goes from the most to the least noisy, linearly, within its range."""
    steps = [noise_step((0.98, 0.02), share, 1000) for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert steps == [980, 900, 500, 100, 20]


def test_a_crossing_is_seen_once() -> None:
    """Whatever the strides, each multiple of the interval is crossed by exactly one of them."""
    assert [crossed(k - 1.0, k, 7) for k in range(1, 15)].count(True) == 2
    assert crossed(6.0, 7.0, 7) and not crossed(7.0, 8.0, 7)
    assert crossed(5.5, 9.0, 7)


class _Time:
    """A clock that work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _run(iters: int, least: int, deadline: float, cost: float) -> tuple[Pace, float]:
    clock = _Time()
    pace = Pace(iters, least, deadline, clock, lambda position: 1.0 + position / iters)
    while not pace.finished:
        pace.begin()
        before = pace.position
        clock.now += cost * (1.0 + before / iters)
        assert pace.end() > before
        assert pace.remaining >= (not pace.finished)
    return pace, clock.now


def test_without_a_deadline_all_iterations_are_done() -> None:
    """Every stride is one."""
    pace, _ = _run(40, 5, math.inf, 1.0)
    assert (pace.done, pace.position) == (40, 40.0)


@given(st.integers(5, 120), st.integers(1, 8), st.floats(0.1, 300), st.floats(0.05, 2))
def test_a_deadline_is_kept_where_it_can_be(
    iters: int, least: int, deadline: float, cost: float
) -> None:
    """The schedule always comes to its end; never more iterations than configured are done, and the
    time is overrun only by what two iterations and the least number of them cost.
    """
    pace, took = _run(iters, min(least, iters), deadline, cost)
    assert pace.position == pytest.approx(iters)
    assert pace.done <= iters
    assert took <= max(deadline + 4 * cost, 2 * cost * (least + 2))


def test_time_that_is_there_is_used() -> None:
    """Under a deadline at half of what all would take, about that share of the time is spent."""
    pace, took = _run(100, 5, 75.0, 1.0)
    assert 0.85 * 75.0 < took <= 77.0
    assert 40 < pace.done < 60

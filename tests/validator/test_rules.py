"""The arithmetic of cooldowns, against its own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.validator.rules import Rules, Verdict

RULES = Rules()
TIMES = st.floats(1e9, 4e9)
DURATIONS = st.floats(0, 100_000)


@pytest.mark.parametrize(
    ("seconds", "wait", "cycle"),
    [(0, 300, 300), (10, 290, 300), (30, 270, 300), (31, 270, 301), (200, 270, 470)],
)
def test_generation_is_free_up_to_the_throttle_period(seconds: int, wait: int, cycle: int) -> None:
    """Up to 30 s the whole cycle is 300 s; from there on each second costs one."""
    until = RULES.cooldown_until(1000.0 + seconds, 1000.0, penalty=False)

    assert until - (1000 + seconds) == wait
    assert until - 1000 == cycle


def test_a_bad_result_costs_six_hundred_seconds_more() -> None:
    """Between the two cooldowns of one result lies the penalty."""
    normal, penalized = (RULES.cooldown_until(1010.0, 1000.0, penalty=p) for p in (False, True))

    assert penalized - normal == 600


def test_a_task_that_is_over_already_cools_down_from_now() -> None:
    """Without a time of assignment nothing is free."""
    assert RULES.cooldown_until(1000.9, None, penalty=False) == 1300
    assert RULES.cooldown_until(1000.9, None, penalty=True) == 1900


@given(assigned=TIMES, seconds=DURATIONS, penalty=st.booleans())
def test_cooldowns_end_neither_early_nor_late(
    assigned: float, seconds: float, penalty: bool
) -> None:
    """A cycle is the cooldown or, if longer, the generation and the cooldown less the throttle."""
    base = 900 if penalty else 300
    until = RULES.cooldown_until(assigned + seconds, assigned, penalty=penalty)

    cycle = max(base, seconds + base - 30)
    assert until == pytest.approx(assigned + cycle, abs=1.001)
    assert until <= assigned + cycle + 0.001


@given(assigned=TIMES, first=DURATIONS, second=DURATIONS, penalty=st.booleans())
def test_who_is_later_may_not_pull_earlier(
    assigned: float, first: float, second: float, penalty: bool
) -> None:
    """A cooldown never shrinks with the time that a result took."""
    early, late = sorted((first, second))

    assert RULES.cooldown_until(
        assigned + early, assigned, penalty=penalty
    ) <= RULES.cooldown_until(assigned + late, assigned, penalty=penalty)


@given(assigned=TIMES, seconds=DURATIONS)
def test_an_honest_miner_is_never_taken_for_a_repeater(assigned: float, seconds: float) -> None:
    """Who pulls when the cooldown of an accepted result is over is not too soon with the next."""
    ended = assigned + seconds
    until = RULES.cooldown_until(ended, assigned, penalty=False)

    assert not RULES.is_repeat(float(until), int(ended))


def test_only_ignored_submissions_leave_the_task_assigned() -> None:
    """The three that change nothing are the wrong task, the lock, and the one too soon."""
    kept = {verdict for verdict in Verdict if not verdict.final}

    assert kept == {Verdict.WRONG_TASK, Verdict.LOCKED, Verdict.TOO_SOON}

"""When a validator may be asked again, by two clocks and over restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from miner.network.puller.clocks import Moment
from miner.network.puller.cooldowns import Cooldown

UNIX = 1_900_000_000.0
CAP = 21_600.0


def at(seconds: float, wall_error: float = 0.0, boot: str = "one") -> Moment:
    """So many true seconds after the beginning, with a wall clock that is wrong by so much."""
    return Moment(1000.0 + seconds, UNIX + seconds + wall_error, boot)


def told(
    seconds: float, now: Moment, *, date: float | None = None, margin: float = 0.0
) -> Cooldown:
    """A cooldown that ends so many true seconds after the beginning."""
    return Cooldown.told(UNIX + seconds, now, date, margin=margin, cap=CAP)


def test_it_is_over_when_the_validator_said() -> None:
    """With clocks that agree, neither earlier nor later."""
    cooldown = told(300.0, at(0.0))

    assert not cooldown.over(at(299.9))
    assert cooldown.over(at(300.0))
    assert cooldown.left(at(100.0)) == 200.0


def test_zero_and_the_past_are_no_wait() -> None:
    """A validator that names no cooldown may be asked at once."""
    assert told(-1.0, at(0.0)).over(at(0.0))
    assert Cooldown.told(0.0, at(0.0), None, margin=5.0, cap=CAP).over(at(0.0))


def test_the_margin_comes_on_top() -> None:
    """Clocks differ by a little: so much is kept beyond what was said."""
    cooldown = told(300.0, at(0.0), margin=2.0)

    assert not cooldown.over(at(301.9))
    assert cooldown.over(at(302.0))


def test_nonsense_is_capped() -> None:
    """Milliseconds for seconds cost that validator some hours, not for ever."""
    cooldown = Cooldown.told(UNIX * 1000, at(0.0), None, margin=1.0, cap=CAP)

    assert not cooldown.over(at(CAP - 1.0))
    assert cooldown.over(at(CAP + 1.0))


@given(
    until=st.floats(1.0, 4000.0),
    asked=st.floats(0.0, 8000.0),
    heard_error=st.floats(-5000.0, 5000.0),
    later_error=st.floats(-5000.0, 5000.0),
)
def test_a_wall_clock_never_makes_us_early(
    until: float, asked: float, heard_error: float, later_error: float
) -> None:
    """However wrong it was when we heard and is when we look: if the validator's is known, none."""
    cooldown = told(until, at(0.0, heard_error), date=UNIX)

    assert not cooldown.over(at(asked, later_error)) or asked >= until - 1e-3


@given(until=st.floats(1.0, 4000.0), asked=st.floats(0.0, 8000.0), jump=st.floats(-5000.0, 5000.0))
def test_a_jump_while_we_wait_never_makes_us_early(until: float, asked: float, jump: float) -> None:
    """Also where the validator does not tell its clock, if ours was right when we heard."""
    cooldown = told(until, at(0.0))

    assert not cooldown.over(at(asked, jump)) or asked >= until - 1e-3


def test_a_right_clock_again_ends_the_wait_in_time() -> None:
    """A clock that was an hour behind when we heard costs nothing once it is mended."""
    cooldown = told(300.0, at(0.0, -3600.0), date=UNIX)

    assert not cooldown.over(at(300.0, -3600.0))
    assert cooldown.over(at(300.0))


def test_a_restart_of_the_program_changes_nothing() -> None:
    """The steady clock runs on: a wall clock set meanwhile does not shorten the wait."""
    kept = Cooldown.model_validate_json(told(300.0, at(0.0)).model_dump_json())
    cooldown = kept.carried(at(10.0, 4000.0))

    assert not cooldown.over(at(299.0, 4000.0))
    assert cooldown.over(at(300.0, 4000.0))


def test_after_a_restart_of_the_machine_the_wall_clock_decides() -> None:
    """The steady clock of another life means nothing; in the new one it counts what is left."""
    cooldown = told(300.0, at(0.0)).carried(Moment(3.0, UNIX + 100.0, "two"))

    assert not cooldown.over(Moment(202.0, UNIX + 299.0, "two"))
    assert not cooldown.over(Moment(202.0, UNIX + 4000.0, "two"))
    assert cooldown.over(Moment(203.0, UNIX + 300.0, "two"))


def test_a_wall_clock_that_went_back_over_a_restart_begins_the_wait_again() -> None:
    """Nobody knows how long the machine was down: the whole wait, and not less, is kept."""
    cooldown = told(300.0, at(0.0)).carried(Moment(3.0, UNIX - 5000.0, "two"))

    assert not cooldown.over(Moment(302.0, UNIX + 9000.0, "two"))
    assert cooldown.over(Moment(303.0, UNIX + 9000.0, "two"))


def test_a_pause_of_our_own_needs_no_wall_clock() -> None:
    """Back-off is not made longer by a clock that is set back, and ends with the machine's life."""
    pause = Cooldown.pause(60.0, at(0.0))

    assert pause.over(at(60.0, -5000.0))
    assert pause.carried(Moment(1.0, UNIX, "two")).over(Moment(1.0, UNIX, "two"))


def test_of_two_waits_both_are_kept() -> None:
    """The longer on each clock."""
    both = told(300.0, at(0.0)).longer(Cooldown.pause(400.0, at(0.0)))

    assert both.left(at(0.0)) == 400.0

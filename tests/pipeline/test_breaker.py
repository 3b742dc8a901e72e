"""The breaker rule by rule; ``test_breaker_machine.py`` does anything in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from miner.pipeline.breaker import Breaker, Change, Choice
from miner.settings import RollbackSettings

SECONDS = 1.0


@dataclass
class Bench:
    """A breaker, the time it lives in, and what it decided."""

    settings: RollbackSettings
    now: float = 1000.0
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.settings, lambda: self.now, self.changes.append)

    def fail(self, cause: str = "exception", times: int = 1) -> None:
        for _ in range(times):
            self.breaker.failed(self.breaker.choose(), cause)

    def work(self, times: int = 1, seconds: float = SECONDS) -> None:
        for _ in range(times):
            self.breaker.succeeded(self.breaker.choose(), seconds)

    @property
    def story(self) -> list[tuple[str, str]]:
        return [(change.state, change.cause) for change in self.changes]


def bench(**keys: Any) -> Bench:
    defaults = {"failures": 3, "cool_down_seconds": 60.0, "max_cool_down_seconds": 200.0}
    return Bench(RollbackSettings(**{**defaults, "steps": (), **keys}))


def test_enough_failures_open_it() -> None:
    """The third failure, and not the second, sends new jobs to the rollback generator."""
    it = bench()
    it.fail(times=2)
    before = it.breaker.choose().generator
    it.fail()

    assert before == "triposr"
    assert it.breaker.choose().generator == "dreamgaussian"
    assert it.story == [("open", "exception")]


def test_few_failures_among_many_jobs_do_not_open_it() -> None:
    """Three failures of ten jobs are under the share of a half."""
    it = bench()
    it.work(7)
    it.fail(times=3)

    assert it.breaker.state == "closed"


def test_old_failures_are_forgotten() -> None:
    """Failures count for the time of the window."""
    it = bench(window_seconds=10.0)
    for _ in range(6):
        it.fail()
        it.now += 6.0

    assert it.breaker.state == "closed"


def test_a_probe_that_works_closes_it() -> None:
    """After the cool-down one job tries the primary, the others do not, and its result closes."""
    it = bench()
    it.fail(times=3)
    it.now += 59.0
    early = it.breaker.choose()
    it.now += 1.0
    probe, other = it.breaker.choose(), it.breaker.choose()
    it.breaker.succeeded(probe, SECONDS)

    assert (early.probe, early.generator) == (False, "dreamgaussian")
    assert (probe.probe, probe.generator) == (True, "triposr")
    assert (other.probe, other.generator) == (False, "dreamgaussian")
    assert it.breaker.choose().generator == "triposr"
    assert [state for state, _ in it.story] == ["open", "half_open", "closed"]


def test_a_probe_that_fails_doubles_the_cool_down() -> None:
    """Each failed probe doubles the wait for the next, up to the limit."""
    it = bench()
    it.fail(times=3)
    waits = []
    for _ in range(4):
        waits.append(it.breaker.cool_down_seconds)
        it.now += it.breaker.cool_down_seconds
        it.fail()

    assert waits == [60.0, 120.0, 200.0, 200.0]
    assert it.breaker.state == "open"


def test_a_probe_that_tells_nothing_is_made_again() -> None:
    """A probe whose job was withdrawn leaves the place to the next job."""
    it = bench()
    it.fail(times=3)
    it.now += 60.0
    it.breaker.nothing_learned(it.breaker.choose())

    assert it.breaker.choose().probe


def test_outcomes_of_earlier_choices_count_no_more() -> None:
    """Jobs begun before a change say nothing of what holds since."""
    it = bench()
    late = [it.breaker.choose() for _ in range(9)]
    it.fail(times=3)
    it.now += 60.0
    it.work()
    for choice in late:
        it.breaker.failed(choice, "exception")

    assert it.breaker.state == "closed"


def test_jobs_of_the_rollback_generator_do_not_close_it() -> None:
    """Only the primary can show that the primary is well."""
    it = bench()
    it.fail(times=3)
    it.work(20)

    assert it.breaker.state == "open"


def test_a_broken_latency_objective_opens_it() -> None:
    """When the slow share of enough jobs is over the objective, new jobs go elsewhere."""
    it = bench(latency_seconds=10.0, latency_jobs=10)
    it.work(8)
    it.work(1, seconds=20.0)
    few = it.breaker.state
    it.work(1, seconds=20.0)

    assert few == "closed"
    assert it.story == [("open", "latency")]


def test_a_slow_probe_does_not_mend_slowness() -> None:
    """What was left for being slow is taken back only when it is fast."""
    it = bench(latency_seconds=10.0, latency_jobs=1)
    it.work(seconds=20.0)
    it.now += 60.0
    it.work(seconds=20.0)
    slow = it.breaker.state
    it.now += 120.0
    it.work(seconds=5.0)

    assert slow == "open"
    assert it.breaker.state == "closed"


def test_smaller_steps_come_first_where_they_fit() -> None:
    """Out of memory: first the chunk, then the resolution, and only then the other generator."""
    steps = ("fewer_steps", "smaller_chunk", "smaller_resolution")
    it = bench(steps=steps, failures=1)
    it.fail("out_of_memory", 3)

    assert [change.steps for change in it.changes] == [steps[1:2], steps[1:], steps[1:]]
    assert [change.state for change in it.changes] == ["closed", "closed", "open"]


def test_steps_do_not_delay_what_they_cannot_mend() -> None:
    """An exception opens at once, whatever steps there are."""
    it = bench(steps=("fewer_steps", "smaller_chunk"))
    it.fail(times=3)

    assert it.story == [("open", "exception")]


def test_steps_are_given_up_one_by_one() -> None:
    """Each cool-down without trouble takes the last step back."""
    it = bench(steps=("smaller_chunk", "smaller_resolution"), failures=1)
    it.fail("out_of_memory", 2)
    seen = []
    for _ in range(3):
        it.now += 60.0
        it.work()
        seen.append(it.breaker.steps)

    assert seen == [("smaller_chunk",), (), ()]


@pytest.mark.parametrize("target", ["primary", "rollback"])
def test_a_pin_holds_whatever_happens(target: Any) -> None:
    """Pinned, all jobs go to one generator, none may change over, and no failure moves it."""
    it = bench()
    it.breaker.pin(target)
    it.fail(times=9)
    choice = it.breaker.choose()

    assert choice.generator == {"primary": "triposr", "rollback": "dreamgaussian"}[target]
    assert not choice.automatic
    assert it.story == [("pinned", "hand")]


def test_a_release_returns_to_the_primary() -> None:
    """Restored by hand, jobs go to the primary, and failures count from none."""
    it = bench()
    it.fail(times=3)
    it.breaker.release()
    it.fail(times=2)

    assert it.breaker.choose().generator == "triposr"
    assert it.story == [("open", "exception"), ("closed", "hand")]


def test_a_configured_pin_holds_from_the_start() -> None:
    """Nothing has to be decided for it."""
    it = bench(pin="rollback")

    assert it.breaker.choose().generator == "dreamgaussian"
    assert it.changes == []


def test_configuration_pins_and_releases() -> None:
    """A changed pin takes the place of what holds; an unchanged one leaves it alone."""
    it = bench()
    it.breaker.pin("rollback")
    it.breaker.reconfigure(it.settings.model_copy(update={"failures": 9}))
    by_hand = it.breaker.state, it.breaker.cause
    it.breaker.reconfigure(it.settings.model_copy(update={"pin": "primary"}))
    pinned = it.breaker.choose().generator
    it.breaker.reconfigure(it.settings)

    assert by_hand == ("pinned", "hand")
    assert pinned == "triposr"
    assert it.breaker.state == "closed"


def test_without_a_rollback_generator_it_stays() -> None:
    """Where there is nothing to go to, jobs go to the primary however they fare."""
    it = bench()
    it.breaker.offered = False
    it.fail(times=9)

    assert it.breaker.choose().generator == "triposr"
    assert it.changes == []


def test_memory_outlives_the_process() -> None:
    """The next life is as far in its cool-down as the time between them made it."""
    first = bench()
    first.fail(times=3)
    first.now += 10.0
    second = bench()
    second.breaker.recall(first.breaker.memory(5000.0), 5030.0)
    before = second.breaker.choose()
    second.now += 20.0

    assert (before.generator, second.breaker.cause) == ("dreamgaussian", "exception")
    assert second.breaker.choose().probe


def test_a_probe_in_flight_is_made_again_in_the_next_life() -> None:
    """What ended half open begins open, its cool-down over."""
    first = bench()
    first.fail(times=3)
    first.now += 60.0
    first.breaker.choose()
    second = bench()
    second.breaker.recall(first.breaker.memory(5000.0), 5000.0)
    second.now += 60.0

    assert second.breaker.choose().probe


def test_a_pin_by_hand_survives_and_a_new_configuration_beats_it() -> None:
    """The latest decision of a person holds, be it a verb or a file."""
    first = bench()
    first.breaker.pin("rollback")
    kept, other = bench(), bench(pin="primary")
    for it in (kept, other):
        it.breaker.recall(first.breaker.memory(5000.0), 5001.0)

    assert kept.breaker.generator == "dreamgaussian"
    assert other.breaker.generator == "triposr"


@pytest.mark.parametrize(
    "memory",
    [
        {},
        {"state": "odd", "target": "primary", "pin": "auto"},
        {"state": "open", "target": 7, "pin": "auto"},
        {"state": "open", "target": "primary", "pin": "auto", "at": "x", "steps": 3},
    ],
)
def test_memory_that_makes_no_sense_harms_nothing(memory: dict[str, Any]) -> None:
    """Whatever was written, there is a generator for the next job and a way back."""
    it = bench()
    it.breaker.recall(memory, 5000.0)
    it.now += 200.0
    it.work(2)

    assert it.breaker.choose().generator == "triposr"


def test_a_choice_tells_the_steps() -> None:
    """The job is told which smaller steps are in force."""
    it = bench(steps=("smaller_chunk",), failures=1)
    it.fail("out_of_memory")
    choice: Choice = it.breaker.choose()

    assert choice.steps == ("smaller_chunk",)

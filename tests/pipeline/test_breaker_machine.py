"""The breaker under anything in any order: jobs that end late, people, restarts, time."""

from __future__ import annotations

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from miner.pipeline.breaker import FAILURES, Breaker, Change, Choice
from miner.settings import RollbackSettings

STEPS = ("fewer_steps", "smaller_chunk", "smaller_resolution", "more_steps")
AUTOMATIC = ("cool_down", "recovered", *FAILURES)


class Machine(RuleBasedStateMachine):
    """Keeps what was chosen and decided, and holds every decision against the rules."""

    jobs = Bundle("jobs")

    @initialize(
        failures=st.integers(1, 4),
        share=st.sampled_from([0.1, 0.5, 1.0]),
        cool_down=st.sampled_from([1.0, 30.0]),
        latency=st.sampled_from([0.0, 5.0]),
        steps=st.permutations(STEPS).flatmap(lambda x: st.integers(0, 4).map(lambda n: x[:n])),
    )
    def begin(
        self, failures: int, share: float, cool_down: float, latency: float, steps: list[str]
    ) -> None:
        self.now, self.wall = 500.0, 1e9
        self.settings = RollbackSettings(
            failures=failures,
            failure_share=share,
            cool_down_seconds=cool_down,
            max_cool_down_seconds=4 * cool_down,
            latency_seconds=latency,
            latency_jobs=2,
            steps=tuple(steps),
        )
        self.opened_at = -1e9
        self.last_step_at = -1e9
        self.touched = False
        self.probes: set[int] = set()
        self.breaker = self.new()

    def new(self) -> Breaker:
        return Breaker(self.settings, lambda: self.now, self.changed)

    def changed(self, change: Change) -> None:
        """Nothing changes back faster than the cool-down, people aside."""
        slack = 1e-6
        if change.state == "half_open":
            waited = self.now - self.opened_at
            assert self.touched or waited >= self.settings.cool_down_seconds - slack
        if change.state == "closed" and change.before != "closed" and change.cause in AUTOMATIC:
            assert change.before == "half_open", "only a probe brings the primary back"
        if change.state == change.before == "closed" and change.cause == "cool_down":
            assert self.now - self.last_step_at >= self.settings.cool_down_seconds - slack
        if change.state == "open":
            self.opened_at, self.touched = self.now, False
        if change.state == change.before == "closed":
            self.last_step_at = self.now

    @rule(target=jobs)
    def choose(self) -> Choice:
        choice = self.breaker.choose()
        assert choice.generator in ("triposr", "dreamgaussian")
        if choice.probe:
            assert self.breaker.state == "half_open"
            assert not self.probes, "one probe at a time"
            self.probes.add(choice.number)
        return choice

    @rule(choice=consumes(jobs), seconds=st.sampled_from([0.5, 20.0]))
    def succeed(self, choice: Choice, seconds: float) -> None:
        self.probes.discard(choice.number)
        self.breaker.succeeded(choice, seconds)

    @rule(choice=consumes(jobs), cause=st.sampled_from(FAILURES))
    def fail(self, choice: Choice, cause: str) -> None:
        self.probes.discard(choice.number)
        self.breaker.failed(choice, cause)

    @rule(choice=consumes(jobs))
    def withdraw(self, choice: Choice) -> None:
        self.probes.discard(choice.number)
        self.breaker.nothing_learned(choice)

    @rule(seconds=st.sampled_from([0.0, 0.4, 1.0, 29.0, 31.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    @rule(wanted=st.sampled_from(["primary", "rollback", None]))
    def by_hand(self, wanted: str | None) -> None:
        self.probes.clear()
        if wanted is None:
            self.breaker.release()
        else:
            self.breaker.pin(wanted)  # type: ignore[arg-type]

    @rule(jump=st.sampled_from([0.0, 5.0, 1e6, -1e6]))
    def restart(self, jump: float) -> None:
        memory = self.breaker.memory(self.wall)
        self.wall += jump
        self.probes.clear()
        old, self.breaker = self.breaker, self.new()
        self.breaker.recall(memory, self.wall)
        self.touched = True  # how long the other life and the time between were, only it knows
        assert self.breaker.generator == old.generator

    @invariant()
    def a_well_primary_is_never_left_for_long(self) -> None:
        """From any state of automatic work, a primary that works gets all jobs again."""
        if not hasattr(self, "breaker") or self.breaker.state == "pinned":
            return
        later = self.now
        copy = Breaker(self.settings, lambda: later)
        copy.recall(self.breaker.memory(self.wall), self.wall)
        for _ in range(2 + len(STEPS)):
            later += self.settings.max_cool_down_seconds
            copy.succeeded(copy.choose(), 0.1)
        assert (copy.state, copy.steps) == ("closed", ())


Machine.TestCase.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestBreaker = Machine.TestCase

"""Turns within one job: the planned generator, smaller steps of its own, the fallback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import BadOutput, BadPrompt, JobCancelled, MinerError, OutOfMemory, StageError
from miner.job import Plan
from miner.pipeline.attempts import Failed, Made, attempt, cause_of

PLAN = Plan("triposr", "dreamgaussian", least_seconds=4.0, spare_steps=("smaller_chunk",))


class Maker:
    """Answers turn by turn with what it is given: an error, or the name of who made it."""

    def __init__(self, *answers: MinerError | None) -> None:
        self.answers = list(answers)
        self.turns: list[tuple[str, tuple[str, ...]]] = []
        self.told: list[str] = []

    def make(self, name: str, steps: tuple[str, ...]) -> str:
        self.turns.append((name, steps))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return name

    def run(
        self,
        plan: Plan = PLAN,
        left: float = 60.0,
        able: bool = True,
        failed: Failed | None = None,
    ) -> Made[str]:
        def tell(name: str, _: StageError) -> None:
            self.told.append(name)

        return attempt(plan, self.make, lambda: left, lambda _: able, tell, failed)


def test_what_works_is_not_tried_again() -> None:
    """The planned generator's result is taken, without a cause."""
    maker = Maker()

    assert maker.run() == Made("triposr", "triposr", "", ())
    assert maker.told == []


@pytest.mark.parametrize(
    ("error", "cause"),
    [(StageError("surface", "x"), "exception"), (BadOutput("quality", "x"), "bad_output")],
)
def test_a_failure_goes_to_the_fallback(error: MinerError, cause: str) -> None:
    """The fallback's result says why it is the fallback's."""
    maker = Maker(error)

    assert maker.run() == Made("dreamgaussian", "dreamgaussian", cause, ())
    assert maker.told == ["triposr"]


def test_memory_is_spared_before_the_generator_is_changed() -> None:
    """Out of memory the steps come first, and the fallback begins without them."""
    out = OutOfMemory("surface", "x")
    cured, left = Maker(out), Maker(out, out)

    assert cured.run() == Made("triposr", "triposr", "out_of_memory", ("smaller_chunk",))
    assert left.run() == Made("dreamgaussian", "dreamgaussian", "out_of_memory", ())
    assert left.turns == [("triposr", ()), ("triposr", ("smaller_chunk",)), ("dreamgaussian", ())]


def test_without_time_a_failure_is_one() -> None:
    """With less time left than the fallback needs it is not begun."""
    maker = Maker(StageError("surface", "x"))

    with pytest.raises(StageError, match="surface"):
        maker.run(left=3.9)
    assert len(maker.turns) == 1


@pytest.mark.parametrize("plan", [Plan("triposr"), Plan("triposr", "", None, 0.0, ("x",))])
def test_without_a_fallback_a_failure_is_one(plan: Plan) -> None:
    """What is pinned fails as it fails."""
    with pytest.raises(BadOutput):
        Maker(BadOutput("surface", "x")).run(plan)


def test_a_fallback_that_could_not_do_better_is_not_asked() -> None:
    """Where the picture itself failed, a generator that needs it is left alone."""
    with pytest.raises(StageError, match="background"):
        Maker(StageError("background", "x")).run(able=False)


@pytest.mark.parametrize("error", [JobCancelled("x"), BadPrompt("x")])
def test_people_are_no_reason_to_try_again(error: MinerError) -> None:
    """Cancelled is cancelled, and a bad request stays bad."""
    maker = Maker(error)

    with pytest.raises(type(error)):
        maker.run()
    assert len(maker.turns) == 1


def test_the_fallback_s_failure_is_the_last_word() -> None:
    """Nobody is asked twice: its error is the job's."""
    maker = Maker(StageError("surface", "x"), StageError("dreamgaussian", "y"))

    with pytest.raises(StageError, match="y"):
        maker.run()
    assert len(maker.turns) == 2


def test_a_turn_that_failed_later_is_not_repeated() -> None:
    """What had been tried before counts: the step is in force already, the cause is the first."""
    made = Made("codes", "triposr", "out_of_memory", ("smaller_chunk",))
    short, bad = Maker(), Maker()

    assert short.run(failed=Failed(made, OutOfMemory("surface", "x"))) == Made(
        "dreamgaussian", "dreamgaussian", "out_of_memory", ()
    )
    assert bad.run(failed=Failed(made, BadOutput("quality", "x"))).cause == "out_of_memory"
    assert short.turns == bad.turns == [("dreamgaussian", ())]
    assert short.told == ["triposr"]


def test_a_turn_that_failed_later_may_be_spared_memory() -> None:
    """Its generator goes on with the first smaller step."""
    made = Made("codes", "triposr", "", ())
    found = Maker().run(failed=Failed(made, OutOfMemory("surface", "x")))

    assert found == Made("triposr", "triposr", "out_of_memory", ("smaller_chunk",))


def test_a_fallback_that_failed_later_has_had_the_last_word() -> None:
    """Its error is raised, and nobody is asked again."""
    maker = Maker()
    made = Made("codes", "dreamgaussian", "bad_output", ())

    with pytest.raises(StageError, match="z"):
        maker.run(failed=Failed(made, StageError("surface", "z")))
    assert maker.turns == []


ERRORS = st.sampled_from(
    [None, OutOfMemory("surface", "x"), BadOutput("quality", "x"), StageError("reconstruct", "x")]
)


@given(st.lists(ERRORS, max_size=6), st.floats(0, 10), st.booleans())
def test_turns_are_few_and_exactly_one_answers(
    answers: list[MinerError | None], left: float, able: bool
) -> None:
    """Never more turns than generators and steps, and a result is of the last turn alone."""
    maker = Maker(*answers)
    try:
        made = maker.run(left=left, able=able)
    except StageError:
        made = None

    assert len(maker.turns) <= 3
    assert made is None or (made.result, made.steps) == maker.turns[-1]
    assert made is None or bool(made.cause) == (len(maker.turns) > 1)


def test_shared_stages_are_not_the_generator_s_fault() -> None:
    """Painting and cutting out have no cause for the breaker."""
    assert cause_of(OutOfMemory("text_to_image", "x")) == ""
    assert cause_of(BadOutput("background", "x")) == ""
    assert cause_of(OutOfMemory("surface", "x")) == "out_of_memory"

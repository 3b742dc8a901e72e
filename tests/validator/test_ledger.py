"""The ledger's rules, case by case in the order in which validators ask."""

from __future__ import annotations

import pytest

from miner.errors import JobFailed, NotPermitted
from miner.network.subnet import SubnetTask
from miner.validator.ledger import Pulled, Submitted
from miner.validator.rules import Rules, Verdict
from tests.validator.rig import START, Books

NOW = int(START)


def pull(books: Books, miner: str = "alice") -> SubnetTask:
    """A task that is assigned."""
    task = books.ledger.pull(miner).task
    assert task is not None
    return task


def submit(
    books: Books,
    task: SubnetTask,
    score: float | None = 1.0,
    miner: str = "alice",
    *,
    empty: bool = False,
    signed: bool = True,
) -> Submitted:
    """Both steps of a submission at once."""
    received = books.ledger.receive(miner, task.id, empty=empty, signed=lambda _: signed)
    if isinstance(received, Submitted):
        return received
    return books.ledger.conclude(miner, received, score)


def succeed(books: Books) -> Submitted:
    """A whole honest cycle up to the next pull."""
    submitted = submit(books, pull(books))
    assert submitted.verdict is Verdict.ACCEPTED
    books.clock.now = float(submitted.cooldown_until)
    return submitted


def test_a_task_comes_with_its_terms() -> None:
    """Threshold and throttle period are told with a task, and no cooldown."""
    books = Books()
    pulled = books.ledger.pull("alice")

    assert pulled.task is not None
    assert (pulled.validation_threshold, pulled.throttle_period) == (0.6, 30)
    assert (pulled.cooldown_until, pulled.cooldown_violations) == (0, 0)


def test_the_unregistered_may_come_in_an_hour() -> None:
    """A hotkey that is not registered is told to wait, and has no books."""
    books = Books()

    assert books.ledger.pull("mallory") == Pulled(cooldown_until=NOW + 3600)
    assert "mallory" not in books.ledger.state.miners


def test_an_assigned_task_is_given_again_and_again() -> None:
    """However often and however late: the same task, and no penalty."""
    books = Books()
    first = pull(books)
    for _ in range(5):
        books.clock.now += 1000
        assert pull(books) == first

    assert books.ledger.state.records[first.id].pulls == 6
    assert books.ledger.state.miners["alice"].violations == 0


def test_miners_have_tasks_of_their_own() -> None:
    """No task goes to two miners."""
    books = Books()

    assert pull(books, "alice").id != pull(books, "bob").id


def test_a_pull_during_a_cooldown_is_a_violation() -> None:
    """It gets no task, and the reply carries both counters."""
    books = Books()
    until = submit(books, pull(books)).cooldown_until
    books.clock.now = until - 0.01

    assert books.ledger.pull("alice") == Pulled(cooldown_until=until, cooldown_violations=1)
    assert books.ledger.pull("alice") == Pulled(cooldown_until=until, cooldown_violations=2)
    books.clock.now = float(until)
    assert books.ledger.pull("alice").task is not None


def test_past_a_hundred_violations_each_costs_ten_seconds() -> None:
    """The hundredth is free, the next two are not."""
    books = Books()
    until = submit(books, pull(books)).cooldown_until
    books.clock.now = START + 1

    assert {books.ledger.pull("alice").cooldown_until for _ in range(100)} == {until}
    assert books.ledger.pull("alice") == Pulled(cooldown_until=until + 10, cooldown_violations=101)
    assert books.ledger.pull("alice").cooldown_until == until + 20


def test_case_1_an_unknown_hotkey_is_forbidden() -> None:
    """A submission of somebody who is not registered."""
    with pytest.raises(NotPermitted, match="not registered"):
        Books().ledger.receive("mallory", "x", empty=False, signed=lambda _: True)


def test_case_1_without_a_task_a_submission_is_forbidden() -> None:
    """Also after the task is over: what came of it is not repeated."""
    books = Books()
    with pytest.raises(NotPermitted, match="no task"):
        books.ledger.receive("alice", "x", empty=False, signed=lambda _: True)
    task = pull(books)
    submit(books, task)

    with pytest.raises(NotPermitted, match="no task"):
        submit(books, task)


def test_case_2_another_task_changes_nothing() -> None:
    """Feedback comes, the old cooldown stays, the signature is not even looked at."""
    books = Books()
    task = pull(books)
    received = books.ledger.receive("alice", "other", empty=True, signed=lambda _: False)

    assert isinstance(received, Submitted)
    assert (received.verdict, received.cooldown_until) == (Verdict.WRONG_TASK, 0)
    assert received.feedback.average_fidelity_score == 1.0
    assert pull(books) == task


def test_case_3_a_bad_signature_ends_the_task_and_is_penalized() -> None:
    """The cooldown is 900 s from the assignment."""
    books = Books()
    task = pull(books)
    submitted = submit(books, task, signed=False)

    assert submitted.verdict is Verdict.BAD_SIGNATURE
    assert submitted.cooldown_until == NOW + 900
    assert books.ledger.state.records[task.id].verdict is Verdict.BAD_SIGNATURE


def test_case_3_a_signature_that_is_none_leaves_the_task() -> None:
    """What checking raises passes through, and the task stays assigned."""
    books = Books()
    task = pull(books)

    def fails(_: SubnetTask) -> bool:
        raise JobFailed("not base64", code="x", status=500)

    with pytest.raises(JobFailed):
        books.ledger.receive("alice", task.id, empty=False, signed=fails)
    assert pull(books) == task
    assert books.ledger.state.records[task.id].submissions == 0


def test_case_4_an_honest_submission_forgives_one_violation() -> None:
    """Also an empty one; below none there is nothing to forgive."""
    books = Books()
    until = succeed(books).cooldown_until
    books.clock.now = until - 1.0
    for _ in range(3):
        books.ledger.pull("alice")
    books.clock.now = float(until)
    submit(books, pull(books), empty=True)

    account = books.ledger.state.miners["alice"]
    assert (account.violations, account.early_pulls) == (2, 3)


def test_case_5_an_empty_result_gives_the_task_back() -> None:
    """The normal cooldown, no penalty, no reward."""
    books = Books()
    submitted = submit(books, pull(books), empty=True)

    assert submitted.verdict is Verdict.EMPTY
    assert submitted.cooldown_until == NOW + 300
    assert submitted.feedback.generations_within_the_window == 0
    assert not submitted.feedback.validation_failed


def test_case_6_while_one_result_is_judged_another_is_ignored() -> None:
    """For 30 s from the first; the task is kept."""
    books = Books()
    task = pull(books)
    received = books.ledger.receive("alice", task.id, empty=False, signed=lambda _: True)
    books.clock.now += 29

    assert received == task
    assert submit(books, task).verdict is Verdict.LOCKED
    assert pull(books) == task


def test_case_7_a_scorer_that_fails_costs_the_normal_cooldown() -> None:
    """The miner is told so, and gets no reward."""
    books = Books()
    submitted = submit(books, pull(books), score=None)

    assert submitted.verdict is Verdict.UNJUDGED
    assert submitted.feedback.validation_failed
    assert submitted.cooldown_until == NOW + 300


def test_case_8_a_result_judged_twice_is_rewarded_once() -> None:
    """The second of two slow judgements finds the first one's success, and changes nothing."""
    books = Books()
    task = pull(books)
    for _ in range(2):
        received = books.ledger.receive("alice", task.id, empty=False, signed=lambda _: True)
        assert received == task
        books.clock.now += 31
    first = books.ledger.conclude("alice", task, 0.9)
    second = books.ledger.conclude("alice", task, 0.9)

    assert (first.verdict, second.verdict) == (Verdict.ACCEPTED, Verdict.TOO_SOON)
    assert second.cooldown_until == first.cooldown_until
    assert second.feedback.generations_within_the_window == 1
    assert books.ledger.state.records[task.id].endings == 1


def test_case_9_a_low_score_is_penalized() -> None:
    """Under the threshold: 900 s, and no observation."""
    books = Books()
    submitted = submit(books, pull(books), score=0.59)

    assert submitted.verdict is Verdict.REJECTED
    assert submitted.cooldown_until == NOW + 900
    assert submitted.feedback.task_fidelity_score == 0
    assert submitted.feedback.average_fidelity_score == 1.0


def test_case_9_two_judgements_of_a_bad_result_count_twice() -> None:
    """As at the subnet: the second one cools down from its own end, and is an ending of its own."""
    books = Books()
    task = pull(books)
    for _ in range(2):
        books.ledger.receive("alice", task.id, empty=False, signed=lambda _: True)
        books.clock.now += 31
    books.ledger.conclude("alice", task, 0.1)
    second = books.ledger.conclude("alice", task, 0.1)

    assert second.cooldown_until == int(books.clock.now) + 900
    assert books.ledger.state.records[task.id].endings == 2


def test_case_10_the_threshold_itself_is_enough() -> None:
    """Accepted: the cooldown is normal, the score and its average are told, the result counts."""
    books = Books()
    submitted = submit(books, pull(books), score=0.6)

    assert submitted.verdict is Verdict.ACCEPTED
    assert submitted.cooldown_until == NOW + 300
    assert submitted.feedback.task_fidelity_score == 0.6
    assert submitted.feedback.average_fidelity_score == pytest.approx(0.95 + 0.05 * 0.6)
    assert submitted.feedback.current_miner_reward == 1500


def test_scores_over_one_count_as_one() -> None:
    """The smoothed score never exceeds 1."""
    books = Books()
    feedback = submit(books, pull(books), score=3.0).feedback

    assert (feedback.task_fidelity_score, feedback.average_fidelity_score) == (1.0, 1.0)


def test_a_late_result_counts_like_any_other() -> None:
    """There is no deadline on an assigned task."""
    books = Books()
    task = pull(books)
    books.clock.now += 100_000
    submitted = submit(books, task)

    assert submitted.verdict is Verdict.ACCEPTED
    assert submitted.cooldown_until == int(books.clock.now) + 270


def test_results_count_for_four_hours() -> None:
    """The ceiling is 48 in the window; then as many are forgotten as come."""
    books = Books()
    counts = [succeed(books).feedback.generations_within_the_window for _ in range(60)]

    assert counts[:3] == [1, 2, 3]
    assert counts[-1] == max(counts) == 49  # the window's two ends both count
    books.clock.now += 5 * 3600
    assert succeed(books).feedback.generations_within_the_window == 1


def test_another_uid_is_another_miner() -> None:
    """A hotkey that was deregistered and came back has neither task nor cooldown of before."""
    books = Books()
    submit(books, pull(books), score=0.0)
    books.uids["alice"] = 9

    assert books.ledger.pull("alice").task is not None
    assert books.ledger.state.miners["alice"].uid == 9


def test_a_source_that_is_empty_gives_no_task() -> None:
    """There is nothing for the miner, and no cooldown is named."""
    books = Books(tasks=lambda number: None)

    assert books.ledger.pull("alice") == Pulled()


def test_rules_are_settings() -> None:
    """Other numbers hold where they are given."""
    books = Books(rules=Rules(cooldown_seconds=6, throttle_seconds=2, penalty_seconds=10))
    task = pull(books)
    books.clock.now += 3

    assert submit(books, task, score=0.0).cooldown_until == int(START + 3 + 16 - 2)

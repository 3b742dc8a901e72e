"""Whose turn it is: fair sharing between identities, whatever each of them asks for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.job import MAIN, Job, JobSpec
from miner.job_queue import IdentityQueue
from miner.job_queue.generation import Generation, Member
from miner.job_queue.lines import Lines
from miner.job_queue.shares import Shares
from tests.job_queue.fakes import Bench, settle

ALPHA, BETA, GAMMA = "alpha", "beta", "gamma"
NAMES = (ALPHA, BETA, GAMMA)
LAST = (False, -1.0, -1e9, -(10**9))
"""In an order: behind everything that waits here."""

shares = st.fixed_dictionaries({name: st.sampled_from([0.5, 1.0, 2.0, 3.0]) for name in NAMES})


def work(arrival: int, *names: str, priority: float = 0.0) -> Generation:
    generation = Generation("key", arrival)
    for name in names:
        job = Job(f"{arrival}{name}", JobSpec(prompt="x"), "5", "api", 9.0, priority, identity=name)
        generation.add(Member(job, "key", 0.0, None))  # type: ignore[arg-type]
    return generation


def serve(lines: Lines, seconds: float = 1.0) -> Generation:
    """One turn, used up as it was charged."""
    generation = lines.pop()
    lines.charge(generation.payer, seconds)
    return generation


@given(shares, st.lists(st.floats(0.1, 5.0), min_size=5, max_size=60))
def test_backlogged_identities_use_the_workers_by_their_shares(
    share: dict[str, float], seconds: list[float]
) -> None:
    """However long jobs turn out to be, use over share differs by at most one job of each."""
    lines, used = Lines(Shares(share)), Counter[str]()
    for arrival in range(3 * len(seconds)):
        lines.add(work(arrival, NAMES[arrival % 3]))
    for each in seconds:
        generation = lines.pop()
        lines.charge(generation.payer, 1.0)
        lines.correct(generation.payer, each - 1.0)
        used[generation.payer] += each  # type: ignore[assignment]

    parts = [used[name] / share[name] for name in NAMES]
    bound = max(seconds) / min(share.values())
    assert max(parts) - min(parts) <= bound + 1e-6


@given(shares, st.lists(st.integers(0, 6), min_size=3, max_size=3), st.integers(0, 10))
def test_what_is_ahead_is_what_begins_first(
    share: dict[str, float], depths: list[int], turns: int
) -> None:
    """With jobs that all take the same time a newcomer begins after as many as were foretold."""
    lines, arrival = Lines(Shares(share)), 0
    for name, depth in zip(NAMES, depths, strict=True):
        for _ in range(depth):
            lines.add(work(arrival, name))
            arrival += 1
    for _ in range(min(turns, len(lines))):
        serve(lines)
    foretold = {name: lines.ahead_of(name, LAST) for name in NAMES}
    order = [one.arrival for one in lines]
    newcomer = work(10**9, ALPHA, priority=-1.0)
    lines.add(newcomer)
    begun = []
    while (one := serve(lines)) is not newcomer:
        begun.append(one)

    assert len(begun) <= foretold[ALPHA]
    assert foretold[ALPHA] - len(begun) <= len(NAMES) - 1  # ties are told as lost
    if not depths[0]:
        assert [one.arrival for one in begun] == order[: len(begun)]


def test_the_order_shown_is_the_order_of_turns() -> None:
    """Walking over the lines gives what popping gives, where every job takes the same time."""
    lines = Lines(Shares({ALPHA: 2.0, BETA: 1.0}))
    for arrival in range(8):
        lines.add(work(arrival, ALPHA if arrival < 5 else BETA, priority=float(arrival % 2)))
    shown = list(lines)

    assert [serve(lines) for _ in range(8)] == shown
    assert Counter(one.payer for one in shown[:6]) == {ALPHA: 4, BETA: 2}


def test_idle_time_is_not_saved_up() -> None:
    """Who comes after a long pause has its turn at once, and then shares again."""
    lines = Lines(Shares({ALPHA: 1.0, BETA: 1.0}))
    for arrival in range(40):
        lines.add(work(arrival, ALPHA))
    for _ in range(20):
        serve(lines)
    for arrival in range(40, 60):
        lines.add(work(arrival, BETA))
    turns = Counter(serve(lines).payer for _ in range(10))

    assert turns == {ALPHA: 5, BETA: 5}


def test_a_retry_goes_before_all() -> None:
    """What was begun already is begun again first, whatever its identity has used."""
    lines = Lines(Shares({}))
    again = work(9, ALPHA)
    again.retried = True
    for arrival in range(3):
        lines.add(work(arrival, BETA))
    lines.charge(ALPHA, 1000.0)
    lines.add(again)

    assert lines.pop() is again


def test_what_two_share_begins_when_either_has_its_turn() -> None:
    """An equal job of another identity is not held up by the line of the first, nor made twice."""
    lines = Lines(Shares({}))
    for arrival in range(5):
        lines.add(work(arrival, ALPHA))
    shared = work(5, ALPHA, BETA)
    lines.add(shared)
    first, second = serve(lines), serve(lines)

    assert (first.arrival, second) == (0, shared)
    assert shared.payer == BETA
    assert len(lines) == 4
    assert shared not in list(lines)


@pytest.mark.parametrize(
    ("share", "places"),
    [
        ({}, {MAIN: 10}),
        ({MAIN: 1.0}, {MAIN: 10}),
        ({ALPHA: 1.0, BETA: 1.0}, {ALPHA: 5, BETA: 5}),
        ({ALPHA: 8.0, BETA: 0.1}, {ALPHA: 10, BETA: 1}),
        ({ALPHA: 1.0, BETA: 1.0, GAMMA: 1.0}, {ALPHA: 4, "unknown": 4}),
    ],
)
def test_places_are_shared_out(share: dict[str, float], places: dict[str, int]) -> None:
    """Ten places by shares; each has one at least, and one alone has all."""
    assert {name: Shares(share).places(name, 10) for name in places} == places


async def test_a_flood_of_one_does_not_hold_up_another() -> None:
    """One's full queue is its own: another's job is taken, and is the next to begin."""
    async with Bench(shares={ALPHA: 1.0, BETA: 1.0}, max_depth=10) as bench:
        mine, theirs = IdentityQueue(bench.queue, ALPHA), IdentityQueue(bench.queue, BETA)
        for _ in range(6):
            await mine.submit(bench.job())
        with pytest.raises(Exception, match="5 jobs of alpha are waiting"):
            await mine.submit(bench.job())
        ticket = await theirs.submit(bench.job())
        assert (mine.snapshot().depth, theirs.snapshot().depth) == (5, 1)
        await bench.later(2.0)
        bench.executor.succeed(bench.executor.begun[0].id)
        await settle()

        assert bench.executor.begun[-1].id == ticket.job.id
        assert [job.identity for job in bench.executor.begun] == [ALPHA, BETA]
        assert bench.queue.snapshot().depth == 5


async def test_equal_jobs_of_two_identities_are_made_once() -> None:
    """They share one generation, each with its own outcome and record."""
    async with Bench(shares={ALPHA: 1.0, BETA: 1.0}) as bench:
        one = await IdentityQueue(bench.queue, ALPHA).submit(bench.job("a mug", task_id="t"))
        two = await IdentityQueue(bench.queue, BETA).submit(bench.job("a mug", task_id="t"))
        bench.executor.succeed(bench.executor.begun[0].id)
        await settle()

        assert await one.outcome() == await two.outcome()
        assert len(bench.executor.begun) == 1
        assert set(bench.journal.outcomes) == {one.job.id, two.job.id}

"""The queue's small parts: order, estimates, deadlines."""

from __future__ import annotations

import asyncio
import heapq
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.job import Job, JobSpec
from miner.job_queue.deadlines import SLACK, Deadlines
from miner.job_queue.generation import Generation, Member
from miner.job_queue.service_time import MAX_AGE_SECONDS, MAX_SAMPLES, ServiceTime, wait_seconds
from miner.job_queue.waiting import Waiting

seconds = st.floats(0, 1000)


def a_generation(arrival: int, priority: float, deadline: float, retried: bool) -> Generation:
    job = Job(str(arrival), JobSpec(prompt="x"), "5", "api", deadline, priority)
    generation = Generation("key", arrival, retried=retried)
    generation.add(Member(job, "key", 0.0, None))  # type: ignore[arg-type]
    return generation


ranks = st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([10.0, 20.0]), st.booleans())


@given(st.lists(ranks, max_size=30), st.data())
def test_waiting_is_a_sorted_list(
    rows: list[tuple[float, float, bool]], data: st.DataObject
) -> None:
    """Whatever is added, moved or taken out, the rest comes out in order."""
    waiting = Waiting()
    there: list[Generation] = []
    for arrival, row in enumerate(rows):
        there.append(a_generation(arrival, *row))
        waiting.add(there[-1])
        waiting.add(there[-1])
        if data.draw(st.booleans()):
            gone = there.pop(data.draw(st.integers(0, len(there) - 1)))
            waiting.discard(gone)
            waiting.discard(gone)
        elif data.draw(st.booleans()):
            moved = there[data.draw(st.integers(0, len(there) - 1))]
            moved.retried = not moved.retried
            waiting.add(moved)
    expected = sorted(there, key=Generation.order, reverse=True)

    assert list(waiting) == expected
    assert [waiting.ahead_of(generation.order()) for generation in expected] == [
        *range(len(expected))
    ]
    for generation in expected:
        assert waiting.first is generation
        waiting.discard(generation)
    assert not len(waiting)


@given(
    st.integers(0, 20),
    st.lists(st.floats(0, 10), max_size=5),
    st.integers(1, 5),
    st.floats(0.1, 10),
)
def test_the_wait_is_that_of_a_simulation(
    ahead: int, elapsed: list[float], slots: int, typical: float
) -> None:
    """The closed form equals handing out the jobs one by one."""
    latest = sorted(elapsed)[:slots]
    free = [0.0] * (slots - len(latest)) + [max(0.0, typical - e) for e in latest]
    heapq.heapify(free)
    for _ in range(ahead):
        heapq.heapreplace(free, free[0] + typical)

    assert wait_seconds(ahead, elapsed, slots, typical) == pytest.approx(free[0], abs=1e-9)


@given(st.lists(seconds, min_size=1, max_size=100))
def test_service_time_is_of_the_last_jobs(samples: list[float]) -> None:
    """Median, tail and minimum are of the window, and the cautious one is met by nine in ten."""
    service = ServiceTime()
    for sample in samples:
        service.add(sample, 0.0)
    window = sorted(samples[-MAX_SAMPLES:])
    cautious = service.cautious(1.0)

    assert service.typical(1.0) == window[math.ceil(len(window) / 2) - 1]
    assert service.fastest(1.0) == window[0]
    assert cautious is not None
    assert sum(sample <= cautious for sample in window) >= 0.9 * len(window)


def test_a_slow_spell_is_forgotten() -> None:
    """Measurements age, so that a queue which refuses everything comes back."""
    service = ServiceTime()
    service.add(500.0, 0.0)

    assert service.typical(MAX_AGE_SECONDS - 1) == 500.0
    assert service.typical(MAX_AGE_SECONDS) is None
    assert service.cautious(MAX_AGE_SECONDS) is None
    assert service.fastest(MAX_AGE_SECONDS) == 0.0


async def test_deadlines_of_finished_jobs_are_forgotten() -> None:
    """However many jobs end long before their deadline, few of their ids are held."""
    deadlines = Deadlines(lambda: 0.0, lambda: None)
    alive: dict[str, None] = {"stays": None}
    deadlines.add(5.0, "stays")
    for number in range(1000):
        deadlines.add(100.0 + number, str(number))
        assert list(deadlines.passed(alive)) == []  # type: ignore[arg-type]

    assert len(deadlines) <= 2 * len(alive) + SLACK
    deadlines.stop()


async def test_an_infinite_deadline_never_passes() -> None:
    """Neither the heap nor the timer minds it."""
    rung = asyncio.Event()
    deadlines = Deadlines(lambda: 0.0, rung.set)
    deadlines.add(math.inf, "a")

    assert list(deadlines.passed({"a": None})) == []  # type: ignore[arg-type]
    assert not rung.is_set()
    deadlines.stop()


def a_member(name: str, accepted_at: float, deadline: float, free: float | None) -> Member:
    spec = JobSpec(prompt="x")
    job = Job(name, spec, "5", "pull", deadline, free_seconds=free)
    return Member(job, "key", accepted_at, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ([("a", 0.0, 100.0, None)], None),
        ([("a", 0.0, 100.0, 30.0)], 20.0),
        ([("a", 0.0, 100.0, 5.0)], 0.0),
        ([("a", 0.0, 100.0, 30.0), ("b", 5.0, 100.0, 10.0)], 5.0),
        ([("a", 0.0, 100.0, 30.0), ("b", 8.0, 12.0, None)], 2.0),
    ],
)
def test_free_seconds_run_from_acceptance(
    members: list[tuple[str, float, float, float | None]], left: float | None
) -> None:
    """What is left at the start is what is free to all who share the work, before any deadline."""
    generation = Generation("key", 1)
    for member in members:
        generation.add(a_member(*member))

    assert generation.begin(10.0).free_seconds == left

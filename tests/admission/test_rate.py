"""Token buckets: never too generous, never forgetful of an honest caller, never too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from miner.admission.rate import TokenBuckets
from tests.admission.fakes import Clock


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    """As many as the bucket holds pass at once, then one for each interval."""
    clock = Clock(0.0)
    buckets = TokenBuckets(per_second=2.0, burst=3, max_keys=10, clock=clock)

    assert [buckets.take("a") for _ in range(3)] == [0.0] * 3
    assert buckets.take("a") == 0.5
    clock.now = 0.5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") == 0.5


def test_a_refusal_costs_nothing() -> None:
    """Asking again and again while refused does not push the moment of the next token away."""
    clock = Clock(0.0)
    buckets = TokenBuckets(per_second=1.0, burst=1, max_keys=10, clock=clock)
    assert buckets.take("a") == 0.0

    assert {buckets.take("a") for _ in range(100)} == {1.0}


def test_keys_do_not_share() -> None:
    """One key's flood takes nothing from another."""
    buckets = TokenBuckets(per_second=1.0, burst=1, max_keys=10, clock=Clock(0.0))
    buckets.take("a")

    assert buckets.take("a") > 0
    assert buckets.take("b") == 0.0


def test_idle_buckets_are_forgotten() -> None:
    """Buckets that are full again leave the table as others are used."""
    clock = Clock(0.0)
    buckets = TokenBuckets(per_second=1.0, burst=2, max_keys=1000, clock=clock)
    for key in range(100):
        buckets.take(str(key))
    for moment in range(60, 120):
        clock.now = float(moment)
        buckets.take("one")

    assert len(buckets) == 1


def test_a_new_rate_holds_at_once() -> None:
    """After a change missing tokens are still missing, and come back at the new rate."""
    clock = Clock(0.0)
    buckets = TokenBuckets(per_second=1.0, burst=2, max_keys=10, clock=clock)
    assert [buckets.take("a"), buckets.take("a"), buckets.take("a")] == [0.0, 0.0, 1.0]
    buckets.set_rate(per_second=10.0, burst=2)
    assert buckets.take("a") == 0.1
    buckets.set_rate(per_second=10.0, burst=3)

    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0.0


@given(
    rate=st.floats(0.1, 100.0),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 2.0)), max_size=80),
)
def test_no_window_gets_more_than_its_share(
    rate: float, burst: int, steps: list[tuple[str, float]]
) -> None:
    """Between any two moments a key gets at most its burst and what the rate gives meanwhile."""
    clock = Clock(0.0)
    buckets = TokenBuckets(rate, burst, max_keys=10, clock=clock)
    granted: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for key, pause in steps:
        clock.now += pause
        if not buckets.take(key):
            granted[key].append(clock.now)

    for times in granted.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                window = times[last] - times[first]
                assert last - first + 1 <= burst + rate * window + 1e-6


@given(
    rate=st.floats(0.1, 100.0),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0.0, 2.0), max_size=60),
)
def test_who_waits_as_told_is_served(rate: float, burst: int, pauses: list[float]) -> None:
    """After the seconds that a refusal names, the next request passes."""
    clock = Clock(0.0)
    buckets = TokenBuckets(rate, burst, max_keys=10, clock=clock)
    for pause in pauses:
        clock.now += pause
        wait = buckets.take("a")
        if wait:
            clock.now += wait
            assert buckets.take("a") == 0.0


@given(st.lists(st.integers(0, 50), max_size=200), st.integers(1, 8))
def test_the_table_keeps_its_bound(keys: list[int], max_keys: int) -> None:
    """However many keys come, the table never holds more than it may."""
    buckets = TokenBuckets(per_second=0.001, burst=2, max_keys=max_keys, clock=Clock(0.0))
    for key in keys:
        buckets.take(str(key))

        assert len(buckets) <= max_keys

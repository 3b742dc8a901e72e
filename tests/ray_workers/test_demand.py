"""How many workers a cluster should have, who is slow in it, and which versions go together."""

from __future__ import annotations

import pytest

from miner.ray_workers.demand import demand
from miner.ray_workers.pace import Paces
from miner.ray_workers.wire import Node, mismatch
from miner.settings import RaySettings

CARDS = [Node("a", "10.0.0.1", 0, 8), Node("b", "10.0.0.2", 8, 64), Node("c", "10.0.0.3", 3, 16)]
OURS = {"miner": "1.2.3", "python": "3.11.7", "ray": "2.60.0"}


@pytest.mark.parametrize(
    ("device", "settings", "count", "gpus"),
    [
        ("auto", {}, 11, 1.0),
        ("cuda", {"gpus_per_worker": 0.5}, 22, 0.5),
        ("cuda", {"gpus_per_worker": 2}, 5, 2.0),
        ("auto", {"workers": 40}, 40, 1.0),
        ("cpu", {}, 3, 0.0),
        ("cpu", {"cpus_per_worker": 16}, 2, 0.0),
        ("cpu", {"workers": 4}, 4, 0.0),
    ],
)
def test_one_worker_for_each_place(
    device: str, settings: dict[str, float], count: int, gpus: float
) -> None:
    """Without a number there are as many workers as places of that size, node by node."""
    wanted = demand(device, RaySettings(**settings), CARDS, had_gpus=False)

    assert (wanted.count, wanted.gpus) == (count, gpus)


def test_auto_stays_with_gpus() -> None:
    """When the last node with a card goes, no worker is put on a CPU in its place."""
    wanted = demand("auto", RaySettings(), CARDS[:1], had_gpus=True)

    assert (wanted.count, wanted.gpus) == (0, 1.0)


def test_versions_have_to_be_the_same() -> None:
    """The program's and Ray's are compared whole, Python's without its last number."""
    assert mismatch(OURS, OURS | {"python": "3.11.9"}) is None
    assert mismatch(OURS, OURS | {"miner": "1.2.4"}) == "miner 1.2.4 there, 1.2.3 here"
    wrong = mismatch(OURS, {"python": "3.12.1", "ray": "2.61.0"})
    assert wrong is not None
    assert "miner unknown there" in wrong
    assert "python 3.12.1 there" in wrong
    assert "ray 2.61.0 there" in wrong


def paced(times: dict[str, float], factor: float = 3.0, jobs: int = 4) -> Paces:
    paces = Paces(factor, jobs)
    for worker, seconds in times.items():
        for _ in range(jobs):
            paces.did(worker, seconds)
    return paces


def test_slow_is_beside_the_others() -> None:
    """A worker over the factor is found, with how many times it is; the others are not."""
    paces = paced({"0": 1.0, "1": 1.1, "2": 4.4})

    assert paces.times_slower("2") == pytest.approx(4.4 / 1.05)
    assert paces.times_slower("0") is None


def test_one_long_job_makes_nobody_slow() -> None:
    """Medians are compared."""
    paces = paced({"0": 1.0, "1": 1.0, "2": 1.0})
    paces.did("2", 100.0)

    assert paces.times_slower("2") is None


@pytest.mark.parametrize(
    ("times", "factor"), [({"0": 1.0, "1": 9.0}, 3.0), ({"0": 1.0, "1": 1.0, "2": 9.0}, 0.0)]
)
def test_nobody_is_slow(times: dict[str, float], factor: float) -> None:
    """With one other to compare with, or a factor of 0, nobody is."""
    paces = paced(times, factor)

    assert not any(paces.times_slower(worker) for worker in times)


def test_a_replaced_worker_begins_anew() -> None:
    """What the one before it took is forgotten."""
    paces = paced({"0": 1.0, "1": 1.0, "2": 9.0})
    paces.forget("2")

    assert paces.times_slower("2") is None

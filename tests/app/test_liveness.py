"""When the watchdog gets its sign of life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miner.app.liveness import Liveness
from miner.executor import ExecutorHealth, WorkerHealth, WorkerState
from miner.settings import WorkerSettings

SETTINGS = WorkerSettings(hang_seconds=30.0, start_seconds=100.0, max_restart_backoff_seconds=20.0)
UP = WorkerHealth("0", "ready", heartbeat_age=0.5)


class World:
    """Workers and a clock that a test moves."""

    def __init__(self, *workers: WorkerHealth) -> None:
        self.now = 0.0
        self.workers = list(workers)
        self.well = Liveness(lambda: ExecutorHealth(self.workers), SETTINGS, lambda: self.now)


@pytest.mark.parametrize("state", ["ready", "busy", "draining"])
def test_a_worker_with_a_fresh_heartbeat_is_alive(state: WorkerState) -> None:
    """Whatever it does, a sign of life counts, for however long the daemon runs."""
    world = World(replace(UP, state=state))
    assert world.well()
    world.now = 1e6
    assert world.well()


def test_one_of_several_is_enough() -> None:
    """A worker that cannot be kept alive does not take the others' work down with it."""
    world = World(replace(UP, state="restarting", heartbeat_age=None), UP)
    world.now = 1e6
    assert world.well()


def test_silence_beyond_what_the_supervisor_allows_is_not_well() -> None:
    """A worker that should have been killed long ago means that nobody watches it."""
    world = World(replace(UP, heartbeat_age=59.0))
    assert world.well()
    world.workers = [replace(UP, heartbeat_age=61.0)]
    assert not world.well()


def test_a_worker_that_is_replaced_has_time_to_load() -> None:
    """Loading takes minutes and is no illness; but it must end within its limits."""
    world = World(UP)
    world.now = 50.0
    assert world.well()
    world.workers = [replace(UP, state="restarting", heartbeat_age=None)]
    world.now = 50.0 + 120.0
    assert world.well()
    world.now += 0.1
    assert not world.well()


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_a_worker_that_was_given_up_is_not_alive(state: WorkerState) -> None:
    """Nobody replaces it any more."""
    assert not World(replace(UP, state=state)).well()

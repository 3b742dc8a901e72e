"""What the service manager says in the environment, and who hears it."""

from __future__ import annotations

import os

import pytest

from miner.settings import notify_address, watchdog_seconds, worker_environment


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_ours_where_it_names_us(
    environ: dict[str, str], seconds: float | None
) -> None:
    """Another process's, none, or nonsense is no watchdog."""
    assert watchdog_seconds(environ) == seconds


def test_nobody_listens_where_no_socket_is_named() -> None:
    """An empty name is none."""
    assert notify_address({}) is None
    assert notify_address({"NOTIFY_SOCKET": ""}) is None
    assert notify_address({"NOTIFY_SOCKET": "@there"}) == "@there"


def test_workers_do_not_hear_of_the_manager() -> None:
    """None of them can say that the daemon is ready, or alive."""
    ours = {"NOTIFY_SOCKET": "/run/there", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    child = worker_environment(environ=ours)
    assert not set(ours) & set(child)

"""For all tests: threads sleep while they wait, as under the command line; long ones go first."""

from __future__ import annotations

import pytest

from miner.settings import let_idle_threads_sleep

let_idle_threads_sleep()  # before any test module loads torch


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several processes none is to begin a long file when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

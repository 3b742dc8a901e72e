"""For all tests: threads sleep while they wait, as under the command line; long ones go first.

Hypothesis's own limits are off, 200 ms for an example and some seconds for all data: how long
either takes is the machine's matter and no rule of ours.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from miner.settings import let_idle_threads_sleep

let_idle_threads_sleep()  # before any test module loads torch
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several processes none is to begin a long file when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

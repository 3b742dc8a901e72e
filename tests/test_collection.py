"""What the tests are called, by which several processes share them out."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings


def test_every_test_has_an_id_of_its_own(request: pytest.FixtureRequest) -> None:
    """Of tests with one id xdist would run the last alone, and not say so."""
    times = Counter(item.nodeid for item in request.session.items)

    assert [name for name, count in times.items() if count > 1] == []


def test_no_drawn_example_is_timed() -> None:
    """On a busy machine an example takes as long as it takes; its limit would be the machine's."""
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check

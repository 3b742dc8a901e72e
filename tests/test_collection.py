"""What the tests are called, by which several processes share them out."""

from __future__ import annotations

from collections import Counter

import pytest


def test_every_test_has_an_id_of_its_own(request: pytest.FixtureRequest) -> None:
    """Of tests with one id xdist would run the last alone, and not say so."""
    times = Counter(item.nodeid for item in request.session.items)

    assert [name for name, count in times.items() if count > 1] == []

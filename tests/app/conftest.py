"""What whole daemons are tested with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app.executors import LOCAL, ON_RAY, Executor, executor_named


@pytest.fixture(scope="module", params=[LOCAL, ON_RAY])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Each in turn; the cluster of a module's tests starts once."""
    with executor_named(request.param) as made:
        yield made

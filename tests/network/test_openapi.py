"""The API's own description, held against the API by requests that a machine makes up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import positive_data_acceptance

from miner.job import Asset
from miner.network.api import Api
from miner.network.openapi import document
from miner.network.server import serve
from tests.network.operator_fakes import FILE, JOB_ID, LIMITS, FakeIdentity, FakeRecord, FakeView

schema = schemathesis.openapi.from_dict(document("1.2.3"))


async def hold(told: SimpleQueue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    """Serves the API until the event is set."""
    view, down = FakeView(identities=[FakeIdentity(), FakeIdentity("second")]), asyncio.Event()
    view.journal.records[JOB_ID] = FakeRecord()
    view.journal.assets[JOB_ID] = Asset(FILE, "ply", 1, "triposr", {})
    application = Api(view, LIMITS).application()
    served = serve(
        application, name="api", host="127.0.0.1", port=0, limits=LIMITS, metrics=view.metrics
    )
    async with served as listening:
        told.put((listening.url, asyncio.get_running_loop(), down))
        await down.wait()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the API listens, in a thread of its own."""
    told: SimpleQueue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = SimpleQueue()
    with ThreadPoolExecutor(1) as threads:
        server = threads.submit(lambda: asyncio.run(hold(told)))
        url, loop, down = told.get(timeout=60)
        yield url
        loop.call_soon_threadsafe(down.set)
        server.result(10)


def holds(case: schemathesis.Case, address: str) -> None:
    """The answer is one that the description promises."""
    # No schema can say which bytes are a picture, or that a prompt must hold something visible.
    case.call_and_validate(base_url=address, excluded_checks=[positive_data_acceptance])


@pytest.mark.parametrize("operation", [one.ok().label for one in schema.get_all_operations()])
def test_the_description_is_true(operation: str, address: str) -> None:
    """Whatever is asked, the answer is one that the description promises, and no fault of ours."""
    # Not ``schema.parametrize``: its tests all have one id, and of those xdist runs the last alone.
    patient = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    narrowed = schema.include(name=operation)
    tests = get_all_tests(schema=narrowed, test_func=holds, settings=patient, given_kwargs=None)
    (made,) = (one.ok() for one in tests)
    made[1](address=address)


def test_every_page_is_described(address: str) -> None:
    """The document names each route of the API, and no other."""
    application = Api(FakeView(), LIMITS).application()
    served = {(route.resource.canonical, route.method) for route in application.router.routes()}

    described = {
        (path, method.upper()) for path, item in document("1")["paths"].items() for method in item
    }

    assert {(path, method) for path, method in served if method != "HEAD"} == described

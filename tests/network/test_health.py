"""The pages that watch over the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from miner.executor import WorkerHealth
from miner.job import MAIN
from miner.network.health import health_application
from tests.network.operator_fakes import FakeIdentity, FakeView, client_of


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest_asyncio.fixture
async def client(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of(health_application(view), view.metrics) as session:
        yield session


async def test_metrics_are_text_by_default(view: FakeView, client: aiohttp.ClientSession) -> None:
    """A plain request gets Prometheus' text format."""
    view.metrics.job_accepted(MAIN, "api")
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        accepted = 'miner_jobs_accepted_total{identity="main",intake="api"} 1.0'
        assert accepted in await response.text()


async def test_metrics_are_openmetrics_where_asked(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """What a Prometheus server asks for by itself can be parsed as OpenMetrics."""
    view.metrics.worker(WorkerHealth("0", "ready"))
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    async with client.get("/metrics", headers={"Accept": accept}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        families = list(text_string_to_metric_families(await response.text()))
    assert "miner_worker_state" in {family.name for family in families}


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "text/plain;version=1.a", ";;,", "*/*"]
)
async def test_an_odd_accept_header_is_answered(client: aiohttp.ClientSession, accept: str) -> None:
    """The header is anybody's; whatever it says, the page comes."""
    async with client.get("/metrics", headers={"Accept": accept}) as response:
        assert response.status == 200


async def test_alive_is_not_ready(view: FakeView, client: aiohttp.ClientSession) -> None:
    """A daemon without workers is alive, and not ready."""
    view.executor.workers = ()
    async with client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with client.get("/readyz") as response:
        assert response.status == 503


async def test_readiness_names_every_reason(view: FakeView, client: aiohttp.ClientSession) -> None:
    """All that keeps it from taking work is told at once, and nothing else."""
    async with client.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"ready": True, "reasons": []})
    view.executor.workers = (WorkerHealth("0", "starting"),)
    view.queue.accepting = False
    view.journal.failed = "disk full"
    view.troubled = ("starting or stopping",)
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json())["reasons"] == [
            "starting or stopping",
            "no worker is ready",
            "draining",
            "the journal cannot be written: disk full",
        ]


async def test_no_work_comes_through_here(client: aiohttp.ClientSession) -> None:
    """The pages of the API are not on this port."""
    async with client.post("/generate", data={"prompt": "a"}) as response:
        assert response.status == 404


async def test_readiness_is_told_of_each_identity(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """Where there are several the page has all; and it can be asked about one, by its name."""
    view.identities = [FakeIdentity("north"), FakeIdentity("south", troubled=("not registered",))]
    async with client.get("/readyz") as response:
        assert response.status == 200
        assert (await response.json())["identities"] == {"north": True, "south": False}
    async with client.get("/readyz?identity=north") as response:
        assert (response.status, await response.json()) == (200, {"ready": True, "reasons": []})
    async with client.get("/readyz?identity=south") as response:
        found = {"ready": False, "reasons": ["not registered"]}
        assert (response.status, await response.json()) == (503, found)
    async with client.get("/readyz?identity=west") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "not_found")


async def test_what_all_lack_keeps_each_identity_from_being_ready(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """Workers, queue and journal are shared: without them none takes work."""
    view.identities = [FakeIdentity("north"), FakeIdentity("south", troubled=("not registered",))]
    view.queue.accepting = False
    async with client.get("/readyz") as response:
        found = {"north": False, "south": False}
        assert (response.status, (await response.json())["identities"]) == (503, found)
    async with client.get("/readyz?identity=south") as response:
        assert (await response.json())["reasons"] == ["not registered", "draining"]

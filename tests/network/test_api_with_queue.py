"""The HTTP API before the real queue and the real journal: nothing accepted is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from miner.executor import ExecutorHealth, OnProgress, WorkerHealth
from miner.job import Asset, Job
from miner.job_queue import JobQueue
from miner.journal import Journal
from miner.network.api import api_application
from miner.settings.daemon import JournalSettings
from tests.network.operator_fakes import FILE, FakeView, asset_of, client_of

PATIENCE_SECONDS = 60.0


class OneAtATime:
    """An executor that ends its one job when it is told to."""

    slots = 1

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.done: list[str] = []
        self._busy = False
        self._changed: Callable[[], None] = lambda: None

    @property
    def capacity(self) -> int:
        return int(not self._busy)

    @property
    def service_seconds_hint(self) -> float | None:
        return 0.01

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        self._busy = True
        self.begun.set()
        try:
            await self.go.wait()
        finally:
            self._busy = False
            self._changed()
        self.done.append(job.id)
        return asset_of(job)

    def cancel(self, job_id: str) -> None:
        pass

    def health(self) -> ExecutorHealth:
        return ExecutorHealth((WorkerHealth("0", "ready"),))

    async def drain(self) -> None:
        pass

    async def reload(self) -> None:
        pass


@pytest.fixture
def executor() -> OneAtATime:
    return OneAtATime()


@pytest_asyncio.fixture
async def view(tmp_path: Path, executor: OneAtATime) -> AsyncIterator[FakeView]:
    view = FakeView()
    async with await Journal.open(tmp_path, JournalSettings()) as journal:
        queue = JobQueue(executor, journal, view.queue_settings, view.metrics)
        view.journal, view.queue, view.executor = journal, queue, executor  # type: ignore[assignment]
        running = asyncio.ensure_future(queue.run())
        yield view
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture
async def client(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of(api_application(view), view.metrics) as session:
        yield session


async def waiting(client: aiohttp.ClientSession) -> int:
    """How many jobs wait, by the status page."""
    async with client.get("/status") as response:
        depth = (await response.json())["queue"]["depth"]
    return int(depth)


async def test_a_prompt_goes_all_the_way(
    client: aiohttp.ClientSession, executor: OneAtATime
) -> None:
    """A file comes back, and the same file again from its place in the journal."""
    executor.go.set()
    async with client.post("/generate/", data={"prompt": "a red cube"}) as response:
        assert (response.status, await response.read()) == (200, FILE)
    async with client.get(f"/results/{response.headers['Miner-Job']}") as again:
        assert (again.status, await again.read()) == (200, FILE)


async def test_a_promise_is_kept_though_nobody_waits(
    client: aiohttp.ClientSession, executor: OneAtATime
) -> None:
    """What was accepted with respond-async is shown while it runs, and is there when it is done."""
    headers = {"Prefer": "respond-async"}
    async with client.post("/generate", data={"prompt": "a"}, headers=headers) as response:
        place = response.headers["Location"]
    await executor.begun.wait()
    async with client.get(place) as response:
        assert response.status == 202
    async with client.get("/status") as response:
        status = await response.json()
        assert status["queue"]["in_flight"] == 1 and status["journal"]["unfinished"] == 1

    executor.go.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (fetched := await client.get(place)).status == 202:
            fetched.release()
    assert await fetched.read() == FILE


async def test_queued_work_of_a_client_that_left_is_not_done(
    client: aiohttp.ClientSession, executor: OneAtATime
) -> None:
    """The first job holds the worker; the second's client leaves, and it never begins."""
    first = asyncio.ensure_future(client.post("/generate", data={"prompt": "one"}))
    await executor.begun.wait()
    second = asyncio.ensure_future(client.post("/generate", data={"prompt": "two"}))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await waiting(client) == 0:
            pass
        second.cancel()
        while await waiting(client) == 1:
            pass

    executor.go.set()
    async with await first as response:
        assert response.status == 200
    assert executor.done == [response.headers["Miner-Job"]]

"""Abuse of a whole daemon: who behaves is served meanwhile, and nothing of it stays."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.app.abuse import LIMITS, abuse, expected
from tests.app.executors import Executor
from tests.app.footprint import Footprint
from tests.app.running import Caller, Running, calling
from tests.network.axon_rig import PATIENCE_SECONDS

pytestmark = pytest.mark.long

MAX_GROWTH_BYTES = 40e6
GOOD_AT_ONCE = 2
"""Lanes of good requests. Each asks at least once while the abuse goes on."""
ENDED = {"done", "failed", "cancelled"}


async def test_abuse_disturbs_nobody_and_leaves_nothing(tmp_path: Path, executor: Executor) -> None:
    """Of thousands of attacks each comes to its end, all good requests meanwhile are answered, and
    connections, descriptors, jobs, memory and workers are afterwards what they were before.
    """
    first, then = executor.jobs(local=1000, ray=500), executor.jobs(local=4000, ray=2000)
    queue = {"max_depth": 1000}
    async with executor.daemon(tmp_path, workers=2, queue=queue, axon=LIMITS) as running:
        port = int(running.address.rpartition(":")[2])
        warm = await abuse(port, running.hotkey, first)
        before, pids = await settled(running), running.worker_pids()
        async with calling(running) as caller, asking(caller) as good:
            came = await abuse(port, running.hotkey, then)
        after = await settled(running)
        async with calling(running) as caller:
            assert await well_made(caller, "afterwards")
        counters = running.status()["counters"]
        # The connections by which this test looks are among them, and close a moment later.
        await running.until(lambda: Footprint.of(running).descriptors <= before.descriptors)

        assert expected(warm), warm
        assert expected(came), came
        assert sum(came.values()) == then
        assert len(good) >= GOOD_AT_ONCE
        assert all(good)
        assert after.resident_bytes - before.resident_bytes < MAX_GROWTH_BYTES
        assert counters["jobs_accepted"] == counters["jobs_finished"] >= len(good)
        assert set(running.outcomes()) <= ENDED
        assert running.worker_pids() == pids
        assert sum(worker["restarts"] for worker in running.status()["workers"]) == 0


@asynccontextmanager
async def asking(caller: Caller) -> AsyncIterator[list[bool]]:
    """While the block runs, good requests one after the other; whether each was well answered."""
    answers: list[bool] = []
    ended = asyncio.Event()

    async def ask(lane: int) -> None:
        while not ended.is_set():
            answers.append(await well_made(caller, f"good {lane} {len(answers)}"))

    async with asyncio.TaskGroup() as group:
        for lane in range(GOOD_AT_ONCE):
            group.create_task(ask(lane))
        try:
            yield answers
        finally:
            ended.set()


async def well_made(caller: Caller, prompt: str) -> bool:
    """Whether a request comes back with what it asked for."""
    reply = await caller.generate(prompt, seed=3)
    return reply.dendrite.status_code == 200 and b64decode(reply.results) == f"{prompt} 3".encode()


async def settled(running: Running) -> Footprint:
    """What the daemon takes up once no connection is open and no job is in hand."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            connections = running.counted("miner_open_connections", server="axon")
            counters = running.status()["counters"]
            if not connections and counters["jobs_accepted"] == counters["jobs_finished"]:
                return Footprint.of(running)
            await asyncio.sleep(0.05)

"""Faults: workers and the daemon itself die, hang and run out of memory under load.

The rule everywhere: every accepted job has exactly one outcome, and nothing accepted is lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from miner.network.protocol import Generate3D
from miner.network.synapse import AXON, request_headers, request_message
from tests.app.executors import ALONE, LOCAL, ON_RAY, Executor
from tests.app.footprint import Footprint
from tests.app.running import VALIDATOR, Running, calling
from tests.app.traffic import endings, push_all, storm

pytestmark = pytest.mark.long

RESTARTS = "miner_worker_restarts_total"
DEEP = {"max_depth": 1000}


@pytest.mark.parametrize("executor", [LOCAL, ON_RAY, ALONE], indirect=True)
async def test_workers_killed_under_load_lose_nothing(tmp_path: Path, executor: Executor) -> None:
    """Kill -9 every little while: each promised task ends DONE or FAILED, and most are done."""
    tasks = executor.jobs(local=300, ray=100)
    async with executor.daemon(tmp_path, "Brief", workers=2, queue=DEEP) as running:
        async with calling(running) as caller, killing(running):
            taken = await push_all(caller, [f"thing {n}" for n in range(tasks)])
            ended = await endings(caller, taken)

        assert sum(ended.values()) == len(taken) == tasks
        assert ended["DONE"] > 0.8 * len(taken)
        assert set(ended) <= {"DONE", "FAILED"}
        assert set(running.outcomes()) <= {"done", "failed"}
        assert sum(running.outcomes().values()) == len(taken)
        assert sum(worker["restarts"] for worker in running.status()["workers"]) > 0


async def test_ill_workers_lose_nothing(tmp_path: Path, executor: Executor) -> None:
    """Crashes, hangs and memory that runs out, at random: one outcome for each job all the same."""
    tasks, impatient = executor.jobs(local=100, ray=50), {"hang_seconds": 2.0}
    async with executor.daemon(tmp_path, "Ill", workers=2, queue=DEEP, worker=impatient) as running:
        async with calling(running) as caller:
            taken = await push_all(caller, [f"thing {n}" for n in range(tasks)])
            ended = await endings(caller, taken)
        counters = running.status()["counters"]
        replaced = {why: running.counted(RESTARTS, reason=why) for why in ("crash", "hang")}

        assert all(replaced.values()), replaced
        assert set(ended) <= {"DONE", "FAILED"}
        assert ended["DONE"] > 0.5 * len(taken)
        assert sum(running.outcomes().values()) == len(taken)
        assert counters["jobs_accepted"] == counters["jobs_finished"] == len(taken)


async def test_a_killed_daemon_keeps_its_promises(tmp_path: Path, executor: Executor) -> None:
    """Kill -9 of the daemon with tasks queued and running: the next life does them all."""
    async with executor.daemon(tmp_path, "Sleeping", workers=2) as running:
        async with calling(running) as caller:
            taken = await push_all(caller, [f"thing {n}" for n in range(20)])
            await running.until((running.scratch / "begun").exists)
            workers = {pid: born_at(pid) for pid in running.worker_pids()}
        await running.end(signal.SIGKILL)
        (running.scratch / "go").touch()
        await running.start()
        async with calling(running) as caller:
            ended = await endings(caller, taken)

        assert ended == {"DONE": 20}
        assert running.outcomes() == {"done": 20}
        assert workers
        # One that was still starting ends when it sees that its parent is gone.
        await running.until(lambda: all(born_at(pid) != born for pid, born in workers.items()))


async def test_a_daemon_killed_again_and_again_keeps_its_promises(
    tmp_path: Path, executor: Executor
) -> None:
    """Kill -9 of the daemon in the middle of accepting, several times over: none is lost."""
    async with executor.daemon(tmp_path, "Brief", queue=DEEP) as running:
        taken: list[str] = []
        for round_ in range(4):
            async with calling(running) as caller:
                pushing = [caller.push(f"{round_} {n}", f"{round_}-{n}") for n in range(60)]
                replies = asyncio.gather(*pushing)
                await asyncio.sleep(0.01 * round_)  # not a wait: a moment to be killed at
                await running.end(signal.SIGKILL)
                answered = zip([f"{round_}-{n}" for n in range(60)], await replies, strict=True)
                taken += [task for task, reply in answered if reply.status == "IN QUEUE"]
            await running.start()
        async with calling(running) as caller:
            ended = await endings(caller, taken)

        assert set(ended) <= {"DONE", "FAILED"}
        assert sum(ended.values()) == len(taken)
        # Those whose reply was lost with the daemon are done as well, in their own time.
        await running.until(lambda: not {"queued", "running"} & running.outcomes().keys())


async def test_a_replay_is_refused_across_a_crash(tmp_path: Path, executor: Executor) -> None:
    """The same signed bytes are good once, also when the daemon was killed in between."""
    async with executor.daemon(tmp_path) as running:
        first = Generate3D(prompt="a red cube")
        head, body = signed(first, running)
        before = await post(running, head, body)
        again = await post(running, head, body)
        await running.end(signal.SIGKILL)
        await running.start()
        after = await post(running, head, body)

        assert (before, again, after) == (200, 401, 401)


async def test_thousands_of_requests_leave_nothing_behind(
    tmp_path: Path, executor: Executor
) -> None:
    """Signed requests at concurrency 64 are all answered, and the daemon does not grow."""
    first, then = executor.jobs(local=2000, ray=400), executor.jobs(local=10_000, ray=1000)
    async with executor.daemon(tmp_path, workers=2, queue=DEEP) as running:
        async with calling(running) as caller:
            await storm(caller, first, "first")
            before = Footprint.of(running)
            statuses = await storm(caller, then, "then")
            after = Footprint.of(running)
        counters = running.status()["counters"]

        assert statuses == {200: then}
        assert counters["jobs_accepted"] == counters["jobs_finished"] == first + then
        assert after.resident_bytes - before.resident_bytes < 40e6
        assert after.descriptors <= before.descriptors
        assert running.outcomes() == {"done": first + then}


@asynccontextmanager
async def killing(running: Running) -> AsyncIterator[None]:
    """While the block runs, the worker is killed whenever it has done some jobs."""

    async def kill() -> None:
        killed_at = 0
        while True:
            await asyncio.sleep(0.1)
            finished = running.status().get("counters", {}).get("jobs_finished", 0)
            if finished < killed_at + 25:
                continue
            killed_at = finished
            for pid in running.worker_pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    task = asyncio.create_task(kill())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def signed(synapse: Generate3D, running: Running) -> tuple[dict[str, str], bytes]:
    """Headers and body as a validator sends them."""
    nonce, uuid = time.time_ns(), "one-connection"
    synapse.axon.hotkey = running.hotkey
    synapse.dendrite.hotkey = VALIDATOR.ss58_address
    synapse.dendrite.nonce, synapse.dendrite.uuid = nonce, uuid
    message = request_message(
        nonce, VALIDATOR.ss58_address, running.hotkey, uuid, synapse.body_hash
    )
    synapse.dendrite.signature = f"0x{VALIDATOR.sign(message).hex()}"
    return request_headers(synapse), synapse.encode()


async def post(running: Running, headers: dict[str, str], body: bytes) -> int:
    address = running.status()["addresses"]["axon"]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/Generate3D", data=body, headers=headers) as reply,
    ):
        assert AXON + "status_code" in reply.headers
        return reply.status


def born_at(pid: int) -> str | None:
    """When the process of that number began, in ticks of the kernel; None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):  # the latter while it goes
        return None

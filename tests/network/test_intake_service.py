"""From a signed request on a socket to the journal and back, over restarts too."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path

from miner.job import MAIN
from miner.network.protocol import Generate3D, TGPoll, TGTask
from tests.network.axon_rig import PATIENCE_SECONDS, request_bytes, signed
from tests.network.miner_rig import Life, life


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another task or the socket brings about."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a real socket must be waited for
            await asyncio.sleep(0.005)


async def poll(miner: Life, task_id: str = "t") -> tuple[str, str | None]:
    reply = (await miner.call(TGPoll(task_id=task_id))).json()
    return reply["status"], reply["results"]


async def test_a_signed_prompt_comes_back_as_a_splat(tmp_path: Path) -> None:
    """The whole way of a one-shot request, and the journal's answer to an equal one."""
    async with life(tmp_path) as miner:
        first = await miner.call(Generate3D(prompt="a cube", seed=3))
        again = await miner.call(Generate3D(prompt="a cube", seed=3))

        assert first.status == again.status == 200
        assert base64.b64decode(first.json()["results"]) == b"splat of a cube"
        assert again.json()["results"] == first.json()["results"]
        assert len(miner.executor.begun) == 1


async def test_a_bad_prompt_is_the_callers_fault(tmp_path: Path) -> None:
    """What the intake refuses goes back with its own status and text."""
    async with life(tmp_path) as miner:
        reply = await miner.call(Generate3D(prompt="\x07"))

        assert (reply.status, "control character" in reply.message) == (400, True)


async def test_a_client_that_leaves_withdraws_what_waits(tmp_path: Path) -> None:
    """Queued work whose client closes its connection is never begun; what runs is finished."""
    async with life(tmp_path) as miner:
        miner.executor.go.clear()
        writers = []
        for count, prompt in enumerate(("a cube", "a cup"), 1):
            headers, body = signed(Generate3D(prompt=prompt))
            _, writer = await asyncio.open_connection("127.0.0.1", miner.port)
            writer.write(request_bytes(headers, body))
            writers.append(writer)
            await until(lambda n=count: len(miner.queue.snapshot().jobs) == n)
        for writer in writers:
            writer.close()
        await until(lambda: miner.queue.snapshot().depth == 0)
        miner.executor.go.set()
        reply = await miner.call(Generate3D(prompt="a cube"))

        assert reply.status == 200
        assert [job.spec.prompt for job in miner.executor.begun] == ["a cube"]


async def test_a_full_queue_is_told_to_both_kinds_of_callers(tmp_path: Path) -> None:
    """When as many wait as may, a task gets the protocol's word and a one-shot request a 503."""
    async with life(tmp_path) as miner:
        miner.executor.go.clear()
        for number in range(4):
            reply = await miner.call(TGTask(prompt=f"cube {number}", task_id=f"t{number}"))
            assert reply.json()["status"] == "IN QUEUE"
            await until(lambda: len(miner.executor.begun) == 1)
        task = await miner.call(TGTask(prompt="one more", task_id="more"))
        shot = await miner.call(Generate3D(prompt="one more"))

        assert (task.status, task.json()["status"]) == (200, "ERROR_QUEUE_FULL")
        assert shot.status == 503


async def test_a_promise_outlives_the_miner(tmp_path: Path) -> None:
    """A task that was promised is done by the next life, and its result can be fetched there."""
    async with life(tmp_path, clean=False) as miner:
        miner.executor.go.clear()
        assert (await miner.call(TGTask(prompt="a cup", task_id="t"))).json()["status"]
        await until(lambda: len(miner.executor.begun) == 1)
        assert await poll(miner) == ("IN PROGRESS", None)
    async with life(tmp_path) as miner:
        await until(lambda: miner.queue.snapshot().jobs == () and len(miner.executor.begun) == 1)
        record = await miner.journal.find_task(MAIN, "t")
        asset = None if record is None else await miner.journal.asset(record.id)

        assert asset is not None
        assert asset.data == b"splat of a cup"


async def test_a_result_is_polled_after_a_restart(tmp_path: Path) -> None:
    """What was done in one life is handed out in the next."""
    async with life(tmp_path) as miner:
        await miner.call(TGTask(prompt="a cup", task_id="t"))
        await until(lambda: miner.queue.snapshot().jobs == () and miner.executor.begun != [])
    async with life(tmp_path) as miner:
        status, results = await poll(miner)

        assert (status, base64.b64decode(results or "")) == ("DONE", b"splat of a cup")


async def test_a_replay_is_refused_over_restarts(tmp_path: Path) -> None:
    """The very bytes that were answered are refused: at once, in the next life, after a crash."""
    headers, body = signed(Generate3D(prompt="a cube"))
    request = headers, body, "/Generate3D"
    async with life(tmp_path) as miner:
        # Signed before this life began: an empty folder vouches for nothing earlier.
        assert (await miner.send(*request)).status == 401
        headers, body = signed(Generate3D(prompt="a cube"))
        request = headers, body, "/Generate3D"
        assert (await miner.send(*request)).status == 200
        assert (await miner.send(*request)).status == 401
    async with life(tmp_path, clean=False) as miner:
        assert (await miner.send(*request)).status == 401
        assert (await miner.call(TGPoll(task_id="t"))).status == 200
        ahead = signed(Generate3D(prompt="a cube"))
    async with life(tmp_path) as miner:
        assert (await miner.send(*request)).status == 401
        assert (await miner.send(*ahead, "/Generate3D")).status == 401

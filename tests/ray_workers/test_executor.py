"""Jobs in actors of a real Ray cluster: what is answered, and what is lost with what."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from miner.errors import BadImage, JobCancelled, StageError, WorkerLost
from miner.job import Plan
from tests.fakes.workers import job, until
from tests.ray_workers.clusters import Nodes, cluster, needs_ray, on_ray, raylet, raylet_of

pytestmark = [needs_ray, pytest.mark.long]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with cluster(nodes=2) as made:
        yield made


async def test_actors_answer_as_processes_do(nodes: Nodes, tmp_path: Path) -> None:
    """Assets of any size, progress, errors of our classes, and readings with the node come back."""
    told: list[tuple[str, int, int]] = []
    picture = os.urandom(3_000_000)
    async with on_ray("Raising", tmp_path, nodes.address) as made:
        await made.until_ready(2)
        answer = await made.executor.submit(job("a mug", 7), lambda *step: told.append(step))
        copied = await made.executor.submit(job(image=picture))
        with pytest.raises(BadImage, match="not a picture"):
            await made.make("bad image")
        with pytest.raises(StageError, match="ValueError: something"):
            await made.make("foreign")
        burst = await asyncio.gather(*(made.make("b", seed) for seed in range(20)))
        health = made.workers()

    assert answer.data == b"a mug 7"
    assert copied.data == picture
    assert burst == [f"b {seed}".encode() for seed in range(20)]
    assert told == [("paint", 1, 2), ("paint", 2, 2)]
    assert {one.name for one in health} == {"0", "1"}
    assert all(one.node and one.memory["resident"] > 2**20 for one in health)
    assert len(made.workers("stopped")) == 2


async def test_a_job_is_cancelled_in_its_actor(nodes: Nodes, tmp_path: Path) -> None:
    """The job ends with JobCancelled; its actor stays and takes the next."""
    async with on_ray("Sleeping", tmp_path, nodes.address) as made:
        wanted = job()
        work = asyncio.create_task(made.executor.submit(wanted))
        await until((tmp_path / "begun").exists)
        made.executor.cancel(wanted.id)
        with pytest.raises(JobCancelled):
            await work
        (tmp_path / "go").touch()

        assert await made.make("next") == b"next 0"
        assert not made.metrics.restarts


async def test_an_actor_that_dies_is_replaced(nodes: Nodes, tmp_path: Path) -> None:
    """Kill -9 under a job: the job is lost with a word, and another actor takes the next."""
    async with on_ray("Sleeping", tmp_path, nodes.address, workers=1) as made:
        (before,) = made.workers()
        work = made.begin("a cube")
        await until((tmp_path / "begun").exists)
        os.kill(before.pid or 0, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            await work
        (tmp_path / "go").touch()

        assert await made.make("next") == b"next 0"
        (after,) = made.workers()
        assert after.pid != before.pid
        assert after.restarts == made.metrics.restarts["crash"] == 1
        assert "died" in (after.last_error or "")


async def test_capacity_follows_the_nodes(nodes: Nodes, tmp_path: Path) -> None:
    """A node killed under its job takes that job and its worker alone; a new node is taken in."""
    third = nodes.add()
    async with on_ray("Sleeping", tmp_path, nodes.address) as made:
        await made.until_ready(3)
        work = {one.name: made.begin("a cube") for one in made.workers()}
        await until(lambda: len(made.workers("busy")) == 3)
        gone = [one for one in made.workers() if raylet_of(one.pid or 0) == raylet(third)]
        nodes.kill(third)
        await until(lambda: any(task.done() for task in work.values()))
        await until(lambda: len(made.workers()) == 2)
        (tmp_path / "go").touch()
        ended = await asyncio.gather(*work.values(), return_exceptions=True)
        await made.until_ready(2)
        assert made.executor.capacity == 2

        fourth = nodes.add()
        await made.until_ready(3)
        assert made.executor.capacity == 3
        nodes.kill(fourth)
        await until(lambda: len(made.workers()) == 2)  # the next test finds two nodes

    assert len(gone) == 1
    assert sorted(map(type, ended), key=repr) == [bytes, bytes, WorkerLost]


async def test_another_worker_changes_over_when_the_last_node_is_lost(tmp_path: Path) -> None:
    """It finishes its job, and then holds what nobody held any more; the others go on."""
    spread = {"triposr": 2, "dreamgaussian": 1}
    with cluster(nodes=0) as nodes:
        places = [nodes.add() for _ in range(3)]
        async with on_ray("Holding", tmp_path, nodes.address, spread) as made:
            await made.until_ready(3)
            held = Counter(tuple(one.generators) for one in made.workers())
            (last,) = (one for one in made.workers() if list(one.generators) == ["dreamgaussian"])
            (tmp_path / "held triposr").touch()
            wanted = [replace(job(), plan=Plan("triposr")) for _ in range(2)]
            work = [asyncio.create_task(made.executor.submit(one)) for one in wanted]
            await until(lambda: made.executor.capacity_for("triposr") == 0)
            nodes.kill(next(one for one in places if raylet(one) == raylet_of(last.pid or 0)))
            await until(lambda: len(made.workers("draining")) == 1)
            early = [one.done() for one in work]
            (tmp_path / "held triposr").unlink()
            answers = await asyncio.gather(*work)
            await until(lambda: set(made.executor.generators) == set(spread))
            await made.until_ready(2)
            other = await made.executor.submit(replace(job(), plan=Plan("dreamgaussian")))

    assert held == {("triposr",): 2, ("dreamgaussian",): 1}
    assert early == [False, False]
    assert [asset.generator for asset in answers] == ["triposr", "triposr"]
    assert other.generator == "dreamgaussian"
    assert made.metrics.restarts["reload"] == 1

"""The rollback over workers that hold one generator each: capacity, reserve, what is offered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from miner.app.rollback import Rollback
from miner.app.rollback_executor import RollbackExecutor
from miner.errors import ControlError
from miner.job import Asset
from miner.metrics import Metrics
from miner.network.control_client import ask
from miner.settings import RollbackSettings
from tests.app.running import calling, daemon
from tests.app.test_rollback import FakeJournal
from tests.fakes.workers import Workers, job, until, workers


@dataclass
class Service:
    """Real workers, and the breaker before them."""

    made: Workers
    rollback: Rollback
    executor: RollbackExecutor
    journal: FakeJournal

    async def make(self) -> Asset:
        return await self.executor.submit(job())

    async def all_ready(self) -> None:
        await until(lambda: self.made.executor.slots == len(self.made.executor.supervisors))

    def kill(self, generator: str) -> None:
        for one in self.made.executor.health().workers:
            if one.generators == (generator,):
                os.kill(one.pid or 0, signal.SIGKILL)


@contextlib.asynccontextmanager
async def service(folder: Path, weights: dict[str, int], **keys: Any) -> AsyncIterator[Service]:
    async with workers("Holding", folder, count=sum(weights.values()), spread=weights) as made:
        journal = FakeJournal()
        settings = RollbackSettings(**{"failures": 2, "steps": ()} | keys)
        rollback = Rollback(settings, journal, Metrics())
        executor = RollbackExecutor(made.executor, rollback, 300.0)
        await rollback.recall(made.executor.generators)
        running = Service(made, rollback, executor, journal)
        await running.all_ready()
        yield running


async def test_capacity_follows_the_breaker(tmp_path: Path) -> None:
    """What could begin, and what can be done at a time, is of the generator in use alone."""
    async with service(tmp_path, {"triposr": 2, "dreamgaussian": 1}) as running:
        executor, told = running.executor, []
        before = executor.capacity, executor.slots, executor.service_seconds_hint
        executor.subscribe(lambda: told.append(executor.capacity))
        running.rollback.rollback()
        away = executor.capacity, executor.slots, executor.service_seconds_hint
        running.rollback.restore(hold=False)
        back = executor.capacity, executor.slots, executor.service_seconds_hint

    assert before == back == (2, 2, 0.25)
    assert away == (1, 1, 8.0)
    assert told[:2] == [1, 2]


async def test_a_job_falls_back_over_workers_as_it_does_inside_one(tmp_path: Path) -> None:
    """It is counted, told and held against the primary, until the service is rolled back."""
    async with service(tmp_path, {"triposr": 1, "dreamgaussian": 1}) as running:
        (tmp_path / "broken triposr").touch()
        first, second, third = [await running.make() for _ in range(3)]
        state = running.rollback.breaker.state

    assert {asset.generator for asset in (first, second, third)} == {"dreamgaussian"}
    assert first.cause == second.cause == third.cause == "exception"
    assert state == "open"
    told = [kind for kind, _ in running.journal.events]
    assert told == ["rollback_job", "rollback", "rollback_job"]


async def test_held_by_hand_nothing_falls_back(tmp_path: Path) -> None:
    """A choice that is not the breaker's own stays within its generator."""
    async with service(tmp_path, {"triposr": 1, "dreamgaussian": 1}) as running:
        running.rollback.rollback()
        (tmp_path / "broken dreamgaussian").touch()
        with pytest.raises(Exception, match="broken by the test"):
            await running.make()

    assert not (tmp_path / "begun triposr").exists()


async def test_what_nobody_holds_is_not_offered(tmp_path: Path) -> None:
    """Without a worker of the other generator the primary has the jobs, until there is one."""
    async with service(tmp_path, {"triposr": 1, "dreamgaussian": 1}) as running:
        breaker = running.rollback.breaker
        running.rollback.rollback()
        running.kill("dreamgaussian")
        await until(lambda: not breaker.offered)
        alone = breaker.generator, running.executor.slots, (await running.make()).generator
        with pytest.raises(ControlError, match="dreamgaussian"):
            running.rollback.rollback()
        await running.all_ready()
        again = breaker.offered, breaker.generator, (await running.make()).generator

    assert alone == ("triposr", 1, "triposr")
    assert again == (True, "dreamgaussian", "dreamgaussian")


async def test_the_reserve_stands_in_where_the_primary_has_no_worker(tmp_path: Path) -> None:
    """Its result says why, and says nothing of the primary."""
    async with service(tmp_path, {"triposr": 1, "dreamgaussian": 1}, failures=1) as running:
        running.kill("triposr")
        await until(lambda: running.made.executor.generators == ("dreamgaussian",))
        asset = await running.make()
        state = running.rollback.breaker.state

    assert (asset.generator, asset.cause) == ("dreamgaussian", "worker_lost")
    assert state == "closed"


async def test_a_job_that_killed_its_worker_goes_to_the_other(tmp_path: Path) -> None:
    """As the queue tries it again it is another worker's, with another generator."""
    async with service(tmp_path, {"triposr": 1, "dreamgaussian": 1}, failures=9) as running:
        (tmp_path / "broken triposr").write_text("dead")
        wanted = job()
        with pytest.raises(Exception, match="was lost under the job"):
            await running.executor.submit(wanted)
        await running.all_ready()
        asset = await running.executor.submit(wanted)

    assert (asset.generator, asset.cause) == ("dreamgaussian", "worker_lost")


async def test_a_daemon_whose_workers_differ(tmp_path: Path) -> None:
    """Requests are answered while the primary is broken, and the status says who holds what."""
    worker = {"count": 3, "spread": {"triposr": 2, "dreamgaussian": 1}}
    rollback = {"failures": 2, "steps": [], "cool_down_seconds": 300.0}
    async with daemon(tmp_path, "Holding", worker=worker, rollback=rollback) as running:
        await running.until(
            lambda: all(one["state"] == "ready" for one in running.status()["workers"])
        )
        held = [one["generators"] for one in running.status()["workers"]]
        async with calling(running) as caller:
            well = await asyncio.gather(*(caller.generate(f"well {n}") for n in range(6)))
            (running.scratch / "broken triposr").touch()
            broken = await asyncio.gather(*(caller.generate(f"broken {n}") for n in range(6)))
        told = running.status()["rollback"]
        ask(running.state_dir, "POST", "restore")
        outcomes = running.outcomes()

    assert sorted(held) == [["dreamgaussian"], ["triposr"], ["triposr"]]
    assert {reply.generator for reply in well} == {"triposr"}
    assert {reply.generator for reply in broken} == {"dreamgaussian"}
    assert (told["state"], told["generator"]) == ("open", "dreamgaussian")
    assert outcomes == {"done": 12}

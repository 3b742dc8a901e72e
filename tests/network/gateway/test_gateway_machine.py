"""Anything in any order: tasks, troubles, deaths, time. What is ours ends once, as it should."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from miner.errors import BadOutput, WorkerLost
from miner.job import Asset, Failure, Outcome
from tests.network.gateway.rig import OTHER_URL, URL, HandGateway, HandTime, KeepingJournal, Life

TROUBLES = {"get_tasks": ("busy", "lost"), "add_result": ("busy", "lost")}

LIFETIME = 590.0
"""Seconds after which a task may be over at its gateway, less what a step takes."""

STEPS = st.one_of(
    st.tuples(st.just("offer"), st.integers(1, 4)),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0, 10.0, 60.0])),
    st.tuples(st.just("succeed"), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.integers(0, 3)),
    st.tuples(st.just("lose worker"), st.integers(0, 3)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.just("get_tasks"), st.integers(0, 1)),
    st.tuples(st.just("add_result"), st.integers(0, 1)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("stop"), st.just(0)),
)


class World:
    """One run: a gateway and a journal, and the lives that come and go before them."""

    def __init__(self) -> None:
        self.gateway, self.journal, self.time = HandGateway(), KeepingJournal(), HandTime()
        self.made: Counter[str] = Counter()
        self.first_told: dict[str, float] = {}
        self.life = self._born()

    def _born(self) -> Life:
        return Life(
            self.gateway, self.journal, self.time, workers=2, urls=(URL, OTHER_URL), ahead=2
        )

    async def step(self, what: str, number: float) -> None:
        for task_id in self.gateway.told:
            self.first_told.setdefault(task_id, self.time.now)
        match what:
            case "offer":
                for _ in range(int(number)):
                    self.gateway.offer()
            case "pass":
                await self.time.pass_(number)
            case "succeed" | "fail" | "lose worker":
                await self.end_a_job(what, int(number))
            case "again":
                if self.gateway.told:
                    known = sorted(self.gateway.told)[int(number) % len(self.gateway.told)]
                    self.gateway.waiting.append({"id": known, "prompt": f"chair {known}"})
            case "get_tasks" | "add_result":
                self.gateway.trouble[what].append(TROUBLES[what][int(number)])
            case "kill":
                await self.life.end()
                self.life = await self._born().__aenter__()
            case "stop":
                await self.life.queue.drain(0.0)
                # A settling daemon gives its last results some time, which is ours to let pass.
                settling = asyncio.create_task(self.life.intake.settle(3600))
                await self.time.pass_(60)
                settling.cancel()
                await asyncio.wait({settling})
                await self.life.end()
                self.life = await self._born().__aenter__()

    async def end_a_job(self, how: str, number: int) -> None:
        running = sorted(self.life.executor.running)
        if not running:
            return
        job_id = running[number % len(running)]
        job = self.life.executor.running[job_id][0]
        if how == "succeed":
            self.made[str(job.task_id)] += 1
            self.life.executor.succeed(job_id, str(job.task_id).encode())
        elif how == "fail":
            self.life.executor.fail(job_id, BadOutput("surface", "nothing there"))
        else:
            self.life.executor.fail(job_id, WorkerLost("it died"))
        await self.time.pass_(0.0)

    async def to_the_end(self) -> None:
        """No more trouble; everything is done, and time enough goes by."""
        self.gateway.trouble = {"get_tasks": [], "add_result": []}
        await self.step("pass", 0.0)
        for _ in range(400):
            if not (self.gateway.waiting or self.life.intake.owed):
                return
            await self.end_a_job("succeed", 0)
            await self.time.pass_(2.0)
        raise AssertionError("it does not come to an end")


async def run(steps: list[tuple[str, float]]) -> World:
    world = World()
    await world.life.__aenter__()
    try:
        for what, number in steps:
            await world.step(what, number)
        await world.to_the_end()
    finally:
        await world.life.end()
    return world


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_what_is_ours_ends_once(steps: list[tuple[str, float]]) -> None:
    """Every task that a gateway told us of has one result, always the same, made at most once."""
    world = asyncio.run(run(steps))

    for task_id in world.gateway.told:
        results = world.gateway.results.get(task_id, [])
        assert results or world.time.now - world.first_told[task_id] > LIFETIME, "lost"
        made = [one for one in results if isinstance(one, Asset)]
        assert all(one.data == f"gateway:{task_id}".encode() for one in made), "another's result"
        assert len({_said(one) for one in results}) <= 1, "two words on one task"
        assert world.made[f"gateway:{task_id}"] <= 1, "made twice"
    assert set(world.gateway.results) <= world.gateway.told, "nobody told us of it"


def _said(outcome: Outcome) -> str:
    return outcome.code if isinstance(outcome, Failure) else "asset"

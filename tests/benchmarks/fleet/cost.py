"""What a large fleet costs the daemon: the share of one core that its event loop computes.

The time of the signs of life is simulated, the computing is measured. Measured are the supervisors,
the queue's dispatcher and the gauges; the frames that real workers' messages arrive in are not
read here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from miner.app.plan_watch import PlanWatch
from miner.app.upkeep import READING_SECONDS
from tests.benchmarks.fleet.cards import LOAD_SECONDS, MEMORY
from tests.benchmarks.fleet.clock import simulated
from tests.benchmarks.fleet.scenarios import BUSY, Scenario
from tests.benchmarks.fleet.simulation import SEED, Fleet, arrivals, fleet

SECONDS = 20.0
"""Simulated, of each measurement."""

IDLE = replace(BUSY, jobs=0, heartbeat_seconds=1.0)
AT_WORK = replace(BUSY, seconds=30.0, heartbeat_seconds=1.0)
"""With jobs so short that as many end as begin while it is measured."""


def costs() -> dict[str, float]:
    """Shares of one core, by what is done; the last is what the simulation itself takes."""
    return {
        "signs of life": simulated(_share(IDLE, gauges=False)),
        "and gauges": simulated(_share(IDLE, gauges=True)),
        "and 10,000 jobs an hour": simulated(_share(AT_WORK, gauges=True)),
        "of that the stand-ins": simulated(_stand_ins(IDLE)),
    }


async def _share(scenario: Scenario, gauges: bool) -> float:
    chance = random.Random(SEED)
    async with fleet(scenario, chance) as made, asyncio.TaskGroup() as group:
        beside = []
        if gauges:
            beside.append(group.create_task(_read_gauges(made)))
        if scenario.jobs:
            beside.append(group.create_task(_offer(made, group, chance)))
            await asyncio.sleep(2 * scenario.seconds)
        share = await _computing(asyncio.sleep(SECONDS))
        for task in beside:
            task.cancel()
    return share


async def _read_gauges(made: Fleet) -> None:
    """What ``miner/app/upkeep.py`` does of it."""
    plans = PlanWatch(made.metrics)
    while True:
        workers = made.cards.health().workers
        for worker in workers:
            made.metrics.worker(worker)
        plans.look(workers)
        await asyncio.sleep(READING_SECONDS)


async def _offer(made: Fleet, group: asyncio.TaskGroup, chance: random.Random) -> None:
    for number, (pause, kind) in enumerate(arrivals(made.scenario, chance)):
        await asyncio.sleep(pause)
        group.create_task(made.offer(number, kind))


async def _stand_ins(scenario: Scenario) -> float:
    """The same signs of life with nobody who does anything about them."""
    loop, chance = asyncio.get_running_loop(), random.Random(SEED)
    heard: list[object] = []

    def beat() -> None:
        heard.append(MEMORY)
        loop.call_later(scenario.heartbeat_seconds, beat)

    for _ in range(scenario.gpus):
        loop.call_later(scenario.heartbeat_seconds * chance.random(), beat)
    await asyncio.sleep(LOAD_SECONDS[1])
    return await _computing(asyncio.sleep(SECONDS))


async def _computing(work: Coroutine[Any, Any, None]) -> float:
    """Seconds of the processor for each simulated one."""
    loop, began = asyncio.get_running_loop(), time.process_time()
    at = loop.time()
    await work
    return (time.process_time() - began) / (loop.time() - at)

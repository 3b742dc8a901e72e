"""Many requests at once: tasks pushed until they are taken, polled to their end, and storms."""

from __future__ import annotations

import asyncio
from collections import Counter

from miner.network.protocol import TGPoll
from tests.app.running import Caller

OPEN = ("IN QUEUE", "IN PROGRESS")
LANES = 64


async def push_all(caller: Caller, prompts: list[str]) -> list[str]:
    """Pushes a task for each prompt until it is taken; the ids of the tasks."""

    async def push(number: int, prompt: str) -> str:
        async with asyncio.timeout(60):
            reply = await caller.push(prompt, f"task-{number}")
            while reply.status != "IN QUEUE":
                await asyncio.sleep(0.05)
                reply = await caller.push(prompt, f"task-{number}")
        return f"task-{number}"

    return await asyncio.gather(*(push(n, prompt) for n, prompt in enumerate(prompts)))


async def endings(caller: Caller, tasks: list[str]) -> Counter[str | None]:
    """Polls each task to its end; how many ended how."""
    return Counter([(await poll_to_end(caller, task)).status for task in tasks])


async def poll_to_end(caller: Caller, task: str) -> TGPoll:
    """The reply that says how a task ended."""
    async with asyncio.timeout(90):
        polled = await caller.poll(task)
        while polled.status in (*OPEN, None):
            await asyncio.sleep(0.05)
            polled = await caller.poll(task)
    return polled


async def storm(caller: Caller, count: int, name: str) -> Counter[int | None]:
    """So many requests, ``LANES`` at a time; how many came back with which status."""
    numbers = iter(range(count))
    statuses: Counter[int | None] = Counter()

    async def lane() -> None:
        for number in numbers:
            reply = await caller.generate(f"{name} {number}")
            statuses[reply.dendrite.status_code] += 1

    await asyncio.gather(*(lane() for _ in range(LANES)))
    return statuses

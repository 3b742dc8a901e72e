"""Validators that ask at a steady rate, whatever becomes of their requests.

A request is begun when it is due, not when an earlier one has ended, so that slowness shows as
latency and not as a lower rate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

from miner.errors import BadAsset
from miner.network.dendrite import Dendrite
from miner.network.load import unpack
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import Synapse
from tests.soak.record import Kind, Record, Request, Result

THINGS = ("a red cube", "a blue car", "a green tree", "a yellow mug", "a wooden chair")
GENERATE_SECONDS = 90.0
CALL_SECONDS = 8.0
POLL_SECONDS = 0.5
MOST_AT_ONCE = 200
TERMINAL: dict[str, Result] = {"DONE": "done", "FAILED": "failed"}
UNKNOWN = ("NOT FOUND", "FORBIDDEN")
PATTERN: tuple[tuple[Kind, bool], ...] = (
    ("generate", False),
    ("task", False),
    ("generate", True),
    ("task", False),
    ("generate", False),
    ("task", True),
)
"""Kinds and ways of requests in turn; the second says whether through the proxy."""


class Clients:
    """The validators.

    Args:
        dendrites: entered; they take turns.
        hotkey: of the miner.
        direct, spoiled: "host:port" of the axon, and of the proxy before it, asked for each call.
        record: where requests are written down.
        clock: seconds since the start of the soak.
    """

    def __init__(
        self,
        dendrites: list[Dendrite],
        hotkey: str,
        direct: Callable[[], str],
        spoiled: Callable[[], str],
        record: Record,
        clock: Callable[[], float],
    ) -> None:
        self._dendrites = dendrites
        self._hotkey = hotkey
        self._ways = {False: direct, True: spoiled}
        self._record = record
        self._clock = clock
        self._ended = asyncio.Event()
        self._given_up = asyncio.Event()

    def end(self) -> None:
        """No further requests; those under way go on."""
        self._ended.set()

    async def ask(self, settle_seconds: float) -> None:
        """Requests at the record's rate until ``end``; returns when all have ended.

        Args:
            settle_seconds: how long promised tasks are asked for after the end.
        """
        number = 0
        began = self._clock()
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            while not self._ended.is_set():
                due = began + number / self._record.rate
                await self._rest(max(0.0, due - self._clock()))
                if self._ended.is_set():
                    break
                if len(under_way) < MOST_AT_ONCE:
                    task = group.create_task(self._one(number, self._clock()))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                number += 1
            self._record.seconds = self._clock()
            if under_way:
                await asyncio.wait(under_way, timeout=settle_seconds)
            self._given_up.set()

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return

    async def _one(self, number: int, at: float) -> None:
        kind, spoiled = PATTERN[number % len(PATTERN)]
        dendrite = self._dendrites[number % len(self._dendrites)]
        prompt = THINGS[number % len(THINGS)]
        ask = self._generate if kind == "generate" else self._task
        result, promised, generator, note = await ask(dendrite, prompt, number, spoiled)
        seconds = self._clock() - at
        self._record.requests.append(
            Request(kind, spoiled, promised, at, seconds, result, generator, note)
        )

    async def _generate(
        self, dendrite: Dendrite, prompt: str, number: int, spoiled: bool
    ) -> tuple[Result, bool, str | None, str]:
        synapse = Generate3D(prompt=prompt, seed=number)
        reply = await dendrite.call(self._ways[spoiled](), self._hotkey, synapse, GENERATE_SECONDS)
        result = outcome(reply)
        if result == "done":
            result = await inspected(reply.results)
        return result, False, reply.generator, note(reply)

    async def _task(
        self, dendrite: Dendrite, prompt: str, number: int, spoiled: bool
    ) -> tuple[Result, bool, str | None, str]:
        task = TGTask(prompt=f"{prompt} {number}", task_id=str(uuid4()))
        taken = await dendrite.call(self._ways[spoiled](), self._hotkey, task, CALL_SECONDS)
        result = outcome(taken)
        if result != "done":
            return result, False, None, note(taken)
        if taken.status != "IN QUEUE":
            return "refused", False, None, str(taken.status)
        result, told = await self._awaited(dendrite, task.task_id)
        return result, True, None, told

    async def _awaited(self, dendrite: Dendrite, task_id: str) -> tuple[Result, str]:
        """What becomes of a promised task; asked for directly, and again after every failure."""
        while not self._given_up.is_set():
            await asyncio.sleep(POLL_SECONDS)
            poll = TGPoll(task_id=task_id)
            reply = await dendrite.call(self._ways[False](), self._hotkey, poll, CALL_SECONDS)
            if reply.dendrite.status_code != 200:
                continue
            status = str(reply.status)
            if status in UNKNOWN:
                return "lost", status
            if status == "DONE":
                return await inspected(reply.results), status
            if status in TERMINAL:
                return TERMINAL[status], status
        return "lost", "no outcome"


def outcome(reply: Synapse) -> Result:
    """What a status means; "done" where it is a success."""
    code = reply.dendrite.status_code
    if code == 200:
        return "done"
    if code == 422:
        return "corrupt"
    if reply.axon.status_code is None:  # nobody said it: the client made it up
        return "unreachable"
    return "failed" if code in (500, 504) else "refused"


def note(reply: Synapse) -> str:
    """Status and message, where it is no success."""
    code, message = reply.dendrite.status_code, reply.dendrite.status_message
    return "" if code == 200 else f"{code} {message}"


async def inspected(results: str | None) -> Result:
    """Whether what came is a splat."""
    try:
        await asyncio.to_thread(unpack, results or "")
    except BadAsset:
        return "corrupt"
    return "done"


def monotonic_since(start: float) -> Callable[[], float]:
    """A clock of seconds since then."""
    return lambda: time.monotonic() - start

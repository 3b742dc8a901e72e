"""What a validator does to a miner: asks for splats and checks what comes, once or many times.

The test validator and the demonstration are built of this. A splat counts as delivered only when
its bytes decode; its Gaussians are counted in the file, not believed. Nothing is written, printed
or scored here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from uuid import uuid4

from miner import encoder
from miner.errors import BadAsset
from miner.job import Format
from miner.network.dendrite import Dendrite
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import SynapseT

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]

CALL_SECONDS = 12.0
"""For pushing and polling a task, each of which is answered at once."""

POLL_STATUS = {"DONE": 200, "FAILED": 500, "NOT FOUND": 404, "FORBIDDEN": 403}
"""The answers to a poll after which none is needed, as HTTP statuses."""


@dataclass(frozen=True)
class Target:
    """A miner: "ip:port", and the hotkey that requests are signed for."""

    address: str
    hotkey: str


@dataclass(frozen=True)
class Order:
    """One thing to ask for. Pushed tasks have neither seed nor format.

    Attributes:
        image: base64 of a picture, instead of the prompt.
    """

    prompt: str | None = None
    image: str | None = field(default=None, repr=False)
    seed: int = 0
    format: Format = "spz"

    @property
    def title(self) -> str:
        """What to call it in a table."""
        return self.prompt if self.prompt is not None else "(picture)"


@dataclass(frozen=True)
class Answer:
    """What became of one order.

    Attributes:
        title: of the order.
        validator: the hotkey that asked.
        status: as HTTP, 200 for a splat that decodes; 422 for something else in its place; 408
            and 503 also where no reply came.
        message: why, where the status is no success.
        seconds: from the order until the whole answer was here.
        gaussians: counted in the file; None without one.
        size_bytes: of the file.
        data: the file, where it is kept.
    """

    title: str
    validator: str
    status: int
    message: str = ""
    seconds: float = 0.0
    gaussians: int | None = None
    size_bytes: int = 0
    generator: str | None = None
    data: bytes | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the splat is there."""
        return self.status == 200

    def without_data(self) -> Answer:
        """The same answer, for those who keep many."""
        return replace(self, data=None)


class Validator:
    """Orders splats from one miner as one hotkey.

    Args:
        dendrite: entered, and closed by its owner.
        target: the miner.
        keep_data: whether answers hold the files; load generators need none.
        poll_seconds: between two polls for a pushed task.
    """

    def __init__(
        self,
        dendrite: Dendrite,
        target: Target,
        *,
        keep_data: bool = True,
        poll_seconds: float = 1.0,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._dendrite = dendrite
        self._target = target
        self._keep_data = keep_data
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._sleep = sleep

    async def generate(self, order: Order, limit_seconds: float) -> Answer:
        """Asks with one ``Generate3D`` and waits on the connection."""
        began = self._clock()
        request = Generate3D(
            prompt=order.prompt, image=order.image, seed=order.seed, format=order.format
        )
        reply = await self._call(request, limit_seconds)
        answer = self._answer(order, reply.dendrite.status_code, reply.dendrite.status_message)
        if answer.ok:
            answer = await self._inspected(answer, reply.results, reply.generator)
        return replace(answer, seconds=self._clock() - began)

    async def push(self, order: Order, limit_seconds: float) -> Answer:
        """Pushes a ``TGTask`` and polls with ``TGPoll`` until it is done or the limit is reached.

        A poll that gets no reply is repeated: the task may be done all the same.
        """
        began = self._clock()
        task = TGTask(prompt=order.title, task_id=str(uuid4()))
        taken = await self._call(task, min(CALL_SECONDS, limit_seconds))
        answer = self._answer(order, taken.dendrite.status_code, taken.dendrite.status_message)
        if answer.ok and taken.status == "ERROR_QUEUE_FULL":
            answer = self._answer(order, 503, taken.status)
        elif answer.ok:
            answer = await self._poll(order, task.task_id, began + limit_seconds)
        return replace(answer, seconds=self._clock() - began)

    async def _poll(self, order: Order, task_id: str, until: float) -> Answer:
        while (left := until - self._clock()) > 0:
            await self._sleep(min(self._poll_seconds, left))
            reply = await self._call(TGPoll(task_id=task_id), CALL_SECONDS)
            status, message = reply.dendrite.status_code, reply.dendrite.status_message
            if status == 200 and reply.status in POLL_STATUS:
                answer = self._answer(order, POLL_STATUS[reply.status], reply.status)
                return await self._inspected(answer, reply.results, None) if answer.ok else answer
            if status not in (200, 408, 503):
                return self._answer(order, status, message)
        return self._answer(order, 408, "the task was not done in time")

    async def _call(self, synapse: SynapseT, limit_seconds: float) -> SynapseT:
        return await self._dendrite.call(
            self._target.address, self._target.hotkey, synapse, limit_seconds
        )

    def _answer(self, order: Order, status: int | None, message: str | None) -> Answer:
        status = status or 500
        text = "" if status == 200 else message or ""
        return Answer(order.title, self._dendrite.hotkey, status, text)

    async def _inspected(
        self, answer: Answer, results: str | None, generator: str | None
    ) -> Answer:
        """The same answer with the splat in it, or with what is wrong with the splat."""
        try:
            data, gaussians = await asyncio.to_thread(unpack, results or "")
        except BadAsset as error:
            return replace(answer, status=422, message=str(error))
        return replace(
            answer,
            gaussians=gaussians,
            size_bytes=len(data),
            generator=generator,
            data=data if self._keep_data else None,
        )


def unpack(results: str) -> tuple[bytes, int]:
    """The file in an answer's base64 text, and how many Gaussians it holds.

    Raises:
        BadAsset: it is not base64, or what it holds is no splat.
    """
    try:
        data = base64.b64decode(results, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadAsset("the results are not base64") from error
    return data, len(encoder.decode(data))


@dataclass(frozen=True)
class LoadPlan:
    """How many requests, and how they are spread.

    Attributes:
        requests: in all.
        concurrency: under way at once, at most.
        per_second: begun at this rate; None for as fast as ``concurrency`` lets them.
    """

    requests: int
    concurrency: int = 1
    per_second: float | None = None


async def run_load(
    send: Callable[[int], Awaitable[Answer]],
    plan: LoadPlan,
    *,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> list[Answer]:
    """Sends ``plan.requests`` requests, each by ``send`` with its number; answers in that order.

    With a rate, an answer's seconds count from when its request was due: what a request waited
    because earlier ones held all places is part of what a caller at that rate would see.

    Raises:
        Exception: the first that ``send`` raised; the other requests are cancelled.
    """
    answers: list[Answer | None] = [None] * plan.requests
    numbers = iter(range(plan.requests))
    began = clock()

    async def lane() -> None:
        for number in numbers:
            late = 0.0
            if plan.per_second is not None:
                due = began + number / plan.per_second
                await sleep(max(0.0, due - clock()))
                late = max(0.0, clock() - due)
            answer = await send(number)
            answers[number] = replace(answer, seconds=answer.seconds + late)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(plan.concurrency, plan.requests)):
                group.create_task(lane())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [answer for answer in answers if answer is not None]

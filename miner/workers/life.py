"""One life of a worker: from a new process to its end, and the jobs it is given between.

A life ends by a crash, a hang, a job over its limit or a device that no longer answers; between
jobs also by memory that grew too far, or because it was asked to leave. What then is the
supervisor's business. All state belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from miner.errors import ChannelError, StartupError, WorkerLost
from miner.executor import OnProgress, WorkerHealth
from miner.gpu.plan import MemoryPlan
from miner.job import Asset, Job
from miner.settings import WorkerSettings
from miner.workers.changes import Changes
from miner.workers.channel import Message
from miner.workers.flights import Flight, Flights
from miner.workers.growth import DeviceGrowth
from miner.workers.handle import Channel, Handle
from miner.workers.messages import (
    ALIVE,
    BROKEN,
    CANCEL,
    CONFIGURE,
    DEVICE_FREE,
    DEVICE_TAKEN,
    DONE,
    ERROR,
    FAILED,
    PROGRESS,
    READY,
    SHORT_OF_MEMORY,
    job_message,
    read_asset,
    read_error,
    read_startup_error,
)

log = logging.getLogger(__name__)

CRASH, HANG, JOB_LIMIT, START = "crash", "hang", "job_limit", "start"
GROWTH, RELOAD, SLOW = "memory_growth", "reload", "slow"
PLANNED = (GROWTH, RELOAD)
"""Why a life ended, with ``BROKEN``: labels of the metric of restarts."""

STALL_TICKS = 3
"""A watch that comes so many heartbeats late has stood still itself."""


class WorkerMetrics(Protocol):
    """What is told of workers."""

    def worker(self, health: WorkerHealth) -> None:
        """How one is."""

    def worker_restarted(self, name: str, reason: str) -> None:
        """One was replaced."""

    def plan(self, plan: MemoryPlan) -> None:
        """One is ready, with this plan."""

    def out_of_memory(self, stage: str, recovered: bool) -> None:
        """Memory ran out in a stage of a job; it went with less, or did not."""

    def self_checked(self, score: float, passed: bool, candidates: int) -> None:
        """A result was checked before it left its worker."""


@dataclass(frozen=True)
class Tools:
    """What every worker of an executor shares.

    Attributes:
        changes: announced whenever capacity or state changed, of any worker.
        clock: ``time.monotonic`` or what a test holds.
        sleep: ``asyncio.sleep`` or what a test holds; waits of the watch and between lives.
    """

    settings: WorkerSettings
    changes: Changes
    metrics: WorkerMetrics
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Readiness:
    """What a worker says of itself once it is warm.

    Attributes:
        load_seconds: by stage, from the spawning on.
        resident_bytes: what growth is measured from.
        generators: names of those that a plan may ask for, the one it has first in front.
        plan: which part lies where, as JSON values of a ``MemoryPlan``; empty where none was made.
    """

    device: str
    load_seconds: Mapping[str, float]
    warm_up_seconds: float
    resident_bytes: int
    generators: tuple[str, ...]
    at: float
    plan: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class LifeOver(Exception):
    """Ends a life from inside it.

    Attributes:
        reason: one of the constants above.
        detail: one line, where there is more to say than how the process ended.
    """

    reason: str
    detail: str = field(default="")


class Life:
    """One process, from ``live`` being called to its return.

    Attributes:
        configuration: of the engine, as JSON values.
        node: the host of the process; None before there is one, and for this host.
        seen_at: ``clock()`` of the last sign of life.
        memory: the latest readings, in bytes.
        readiness: None until it is warm.
        leaving: why it is to end after its jobs; it gets no new ones.

    ``changed`` is called whenever capacity or state may be different; not when only the time of the
    last sign of life and the memory are.
    """

    def __init__(
        self,
        name: str,
        configuration: Mapping[str, Any],
        tools: Tools,
        changed: Callable[[], None],
    ) -> None:
        self.pid: int | None = None
        self.node: str | None = None
        self.seen_at: float | None = None
        self.memory: Mapping[str, int] = {}
        self.readiness: Readiness | None = None
        self.leaving: str | None = None
        self.jobs_done = 0
        self.flights = Flights()
        self._device_growth = DeviceGrowth()
        self._name = name
        self.configuration = configuration
        self._tools = tools
        self._changed = changed
        self._channel: Channel | None = None  # while it takes jobs
        self._began_at = 0.0

    @property
    def takes_jobs(self) -> bool:
        """Whether it is warm and not over yet."""
        return self._channel is not None

    @property
    def capacity(self) -> int:
        """1 when a job could begin now."""
        return int(self.takes_jobs and self.leaving is None and self.flights.room)

    async def submit(self, job: Job, on_progress: OnProgress | None) -> Asset:
        """As ``Executor.submit``; only while ``capacity`` is 1."""
        assert self._channel is not None and self.capacity, "no capacity"
        flight = self.flights.begin(job, on_progress, self._tools.clock())
        self._changed()
        message = job_message(flight.number, job.spec, job.plan)
        try:
            await self._channel.send(message.head, message.payload)
            return await flight.answer
        except ChannelError as error:
            self.flights.end(flight.number)
            # At once: the next try must not come here before the end of the channel is read.
            self.leaving = self.leaving or CRASH
            self._changed()
            raise WorkerLost(f"worker {self._name} was gone before it had the job") from error
        except asyncio.CancelledError:
            flight.answer.cancel()  # the entry stays until the worker has answered
            self.withdraw(flight)
            raise

    def withdraw(self, flight: Flight) -> None:
        """Asks the worker to give a job up."""
        if self._channel is not None:
            self._channel.post({"type": CANCEL, "number": flight.number})

    async def live(self, spawn: Callable[[], Awaitable[Handle]]) -> LifeOver:
        """Spawns, starts and serves, and sees to it that nothing is left of it; why it ended.

        Raises:
            StartupError: the worker says that it cannot start, or takes too long.
        """
        self._began_at = self._tools.clock()
        try:
            process = await spawn()
        except OSError as error:
            return LifeOver(START, f"no process: {error}")
        async with process:
            self.pid, self.node = process.pid, process.node
            over = await self._until_over(process.channel)
            if over.reason in (HANG, JOB_LIMIT):
                await process.kill_with_trace()
        over.detail = over.detail or process.epitaph()
        return over

    async def _until_over(self, channel: Channel) -> LifeOver:
        try:
            async with asyncio.timeout(self._tools.settings.start_seconds):
                ready = await self._start(channel)
        except TimeoutError as error:
            seconds = self._tools.settings.start_seconds
            late = f"not ready after {seconds:g} s (worker.start_seconds)"
            raise StartupError(f"worker {self._name}: {late}") from error
        except (LifeOver, ChannelError) as ended:
            return _as_life_over(ended)
        try:
            self._became_ready(channel, ready)
            return await self._serve(channel)
        finally:
            self._channel = None
            lost = f"worker {self._name} was lost under the job"
            self.flights.fail_all(lambda job: WorkerLost(f"{lost} {job.id}"))
            self._changed()

    # Starting

    async def _start(self, channel: Channel) -> Message:
        every = self._tools.settings.heartbeat_seconds
        head = {"type": CONFIGURE, "heartbeat_seconds": every}
        await channel.send({**head, "configuration": self.configuration})
        while (message := await self._receive(channel)).type != READY:
            if message.type == FAILED:
                raise read_startup_error(message.head)
        return message

    def _became_ready(self, channel: Channel, ready: Message) -> None:
        head, now = ready.head, self._tools.clock()
        seconds = {str(stage): float(took) for stage, took in head["load_seconds"].items()}
        process = max(0.0, now - self._began_at - sum(seconds.values()))
        self.memory = head["memory"]
        self.readiness = Readiness(
            device=str(head["device"]),
            load_seconds={"process": process, **seconds},
            warm_up_seconds=float(head["warm_up_seconds"]),
            resident_bytes=self.memory.get("resident", 0),
            generators=tuple(map(str, head["generators"])),
            at=now,
            plan=head.get("plan") or {},
        )
        if self.readiness.plan:
            self._tools.metrics.plan(MemoryPlan.from_json(self.readiness.plan))
        self._channel = channel
        took = now - self._began_at
        log.info("worker %s: ready on %s after %.1f s", self._name, head["device"], took)
        self._changed()

    # Serving

    async def _serve(self, channel: Channel) -> LifeOver:
        """Listens and watches until the life is over.

        Not by a task group: one that is ending already keeps a cancellation of this task to itself,
        and the supervisor would go on with another life.
        """
        tasks = [
            asyncio.create_task(self._listen(channel)),
            asyncio.create_task(self._watch()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        over = next(end for end in ends if not isinstance(end, asyncio.CancelledError))
        assert isinstance(over, BaseException), "both run until they raise"
        if not isinstance(over, LifeOver | ChannelError):
            raise over
        return _as_life_over(over)

    async def _listen(self, channel: Channel) -> None:
        while True:
            self._take(await self._receive(channel))
            self._leave_when_idle()

    async def _receive(self, channel: Channel) -> Message:
        message = await channel.receive()
        if message is None:
            raise LifeOver(CRASH)
        self.seen_at = self._tools.clock()
        if message.type == ALIVE:
            self.memory = message.head["memory"]
        return message

    def _take(self, message: Message) -> None:
        """Does what a message of a ready worker asks for.

        A sign of life changes nothing that anybody waits for: of a large fleet there is one every
        millisecond, and whoever shows its time and memory looks for himself.
        """
        if message.type == ALIVE:
            return
        number = message.head.get("number")
        if message.type == PROGRESS and (flight := self.flights.get(number)):
            flight.progress(message.head["stage"], message.head["done"], message.head["total"])
            return
        if message.type == SHORT_OF_MEMORY:
            for stage, recovered in message.head["stages"]:
                self._tools.metrics.out_of_memory(str(stage), bool(recovered))
                went = "went with less" if recovered else "did not fit with less either"
                log.warning("worker %s: out of memory in %s, %s", self._name, stage, went)
            return
        if message.type == DEVICE_FREE and (flight := self.flights.get(number)):
            flight.on_device = False
            self._weigh(message.head.get("settled"))
        elif message.type == DEVICE_TAKEN and (flight := self.flights.get(number)):
            flight.on_device = True
        elif message.type == DONE and (flight := self.flights.end(number)):
            self.jobs_done += 1
            flight.succeed(read_asset(message))
        elif message.type == ERROR and (flight := self.flights.end(number)):
            flight.fail(read_error(message.head))
        elif message.type == BROKEN:
            raise LifeOver(BROKEN, str(message.head["message"]))
        self._changed()

    async def _watch(self) -> None:
        """Looks at the time once in every heartbeat."""
        tick = self._tools.settings.heartbeat_seconds
        before = self.seen_at = self._tools.clock()  # silence counts from now
        while True:
            await self._tools.sleep(tick)
            now = self._tools.clock()
            if now - before > STALL_TICKS * tick:
                # It was this process that stood still: what the worker has said meanwhile is
                # still to be read, and its silence proves nothing.
                self.seen_at = now
            else:
                self._check(now)
            before = now

    def _check(self, now: float) -> None:
        settings = self._tools.settings
        if self.seen_at is not None and now - self.seen_at > settings.hang_seconds:
            raise LifeOver(HANG, f"no sign of life for {settings.hang_seconds:g} s")
        for flight in self.flights:
            if now - flight.begun_at > settings.job_seconds:
                raise LifeOver(JOB_LIMIT, f"a job took over {settings.job_seconds:g} s")
        assert self.readiness is not None
        grown = self.memory.get("resident", 0) - self.readiness.resident_bytes
        if grown > settings.max_growth_bytes and self.leaving is None:
            log.warning("worker %s: grew by %d MiB, to be replaced", self._name, grown >> 20)
            self.leaving = GROWTH
            self._changed()
        self._leave_when_idle()

    def _weigh(self, settled: tuple[str, int] | None) -> None:
        """What a job left on the device."""
        if settled is None or self.leaving is not None:
            return
        grown = self._device_growth.after_job(str(settled[0]), int(settled[1]))
        if grown > self._tools.settings.max_gpu_growth_bytes:
            log.warning(
                "worker %s: %d MiB left on the device, to be replaced", self._name, grown >> 20
            )
            self.leaving = GROWTH

    def _leave_when_idle(self) -> None:
        if self.leaving is not None and not self.flights:
            raise LifeOver(self.leaving, "between jobs" if self.leaving in PLANNED else "")


def _as_life_over(error: BaseException) -> LifeOver:
    return error if isinstance(error, LifeOver) else LifeOver(CRASH, str(error))

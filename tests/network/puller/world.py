"""A subnet in virtual time: validators by the real rules, a network that fails, a GPU, a disk."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from miner.admission.peers import Peer, PeersSnapshot
from miner.admission.signature import new_hotkey
from miner.errors import KnownTask, MinerError, NotPermitted
from miner.executor import ExecutorHealth, OnProgress, WorkerHealth
from miner.job import Asset, Failure, Job, Outcome
from miner.job_queue import JobQueue
from miner.network.puller import Clocks, Puller, PullParts
from miner.network.subnet import PullTask, SubmitResults, SubnetTask
from miner.network.synapse import Synapse
from miner.settings.daemon import QueueSettings
from miner.settings.pull import PullSettings
from miner.validator.judge import is_signed
from miner.validator.ledger import Ledger, Submitted
from miner.validator.rules import Rules
from miner.validator.tasks import TaskList
from tests.job_queue.fakes import Counters

MINER = new_hotkey(b"\x01" * 32)
EPOCH = 1_900_000_000.0
"""The true time is the loop's, so many seconds later."""


def true_time() -> float:
    return asyncio.get_event_loop().time() + EPOCH


class PullCounters(Counters):
    """Counts what the puller tells, too."""

    def pulled(self, outcome: str) -> None:
        self.seen["pulled", outcome] += 1

    def submitted(self, outcome: str) -> None:
        self.seen["submitted", outcome] += 1

    def judged(self, score: float) -> None:
        self.seen["judged",] += 1

    def validator(self, hotkey: str, readings: Mapping[str, float | None] | None) -> None:
        assert readings is None or (readings["cooldown"] or 0.0) >= 0


# Validators and the way to them


@dataclass
class Validator:
    """One validator and the network to it.

    Attributes:
        fault: what becomes of calls: "" goes well; "refused", "lost_request", "lost_reply", "slow",
            "garbage", "error" and "absurd" do not.
        score: of every result.
    """

    number: int
    ledger: Ledger
    stake: float = 5000.0
    fault: str = ""
    latency_seconds: float = 0.05
    judge_seconds: float = 0.35
    score: float | None = 0.9
    tells_date: bool = True
    calls: list[tuple[float, str]] = field(default_factory=list)
    judging: set[asyncio.Task[Submitted]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.keypair = new_hotkey(bytes([100 + self.number]) * 32)
        self.hotkey = self.keypair.ss58_address
        self.address = f"192.0.2.{self.number + 1}:8091"

    @property
    def peer(self) -> Peer:
        return Peer(self.hotkey, self.number, self.stake, True, axon=self.address)

    @property
    def account(self) -> Any:
        return self.ledger.state.miners.get(MINER.ss58_address)

    async def answer(self, synapse: Synapse) -> Synapse:
        """What its handlers say, as the real ones do."""
        if isinstance(synapse, PullTask):
            pulled = self.ledger.pull(MINER.ss58_address)
            return synapse.model_copy(
                update={
                    "task": pulled.task,
                    "validation_threshold": pulled.validation_threshold,
                    "throttle_period": pulled.throttle_period,
                    "cooldown_until": pulled.cooldown_until,
                    "cooldown_violations": pulled.cooldown_violations,
                }
            )
        assert isinstance(synapse, SubmitResults)
        base64.b64decode(synapse.results, validate=True)
        received = self.ledger.receive(
            MINER.ss58_address,
            synapse.task_id,
            empty=not synapse.results,
            signed=lambda task: is_signed(synapse, task, self.hotkey, MINER.ss58_address),
        )
        if not isinstance(received, Submitted):
            task = asyncio.get_running_loop().create_task(self._judge(received))
            self.judging.add(task)
            task.add_done_callback(self.judging.discard)
            received = await asyncio.shield(task)
        return synapse.model_copy(
            update={
                "results": "",
                "signature": "",
                "feedback": received.feedback,
                "cooldown_until": received.cooldown_until,
            }
        )

    async def _judge(self, task: SubnetTask) -> Submitted:
        await asyncio.sleep(self.judge_seconds)
        return self.ledger.conclude(MINER.ss58_address, task, self.score)


def a_validator(
    number: int = 0,
    tasks: Callable[[int], SubnetTask | None] | None = None,
    rules: Rules | None = None,
    **changes: Any,
) -> Validator:
    """One with endless texts."""
    source = tasks or TaskList([f"a chair {i}" for i in range(50)], seed=str(number))
    ledger = Ledger(source, lambda hotkey: 77, rules or Rules(), clock=true_time)
    return Validator(number, ledger, **changes)


class Net:
    """The client: knows validators by address."""

    def __init__(self, validators: list[Validator]) -> None:
        self.validators = validators

    async def call(
        self,
        address: str,
        axon_hotkey: str,
        synapse: Any,
        timeout: float = 12.0,  # noqa: ASYNC109 - the protocol's own word
        on_date: Callable[[float], None] | None = None,
    ) -> Any:
        validator = next(v for v in self.validators if v.address == address)
        validator.calls.append((true_time(), type(synapse).__name__))
        reply = synapse.model_copy()
        reply.dendrite, reply.axon = synapse.dendrite.model_copy(), synapse.axon.model_copy()
        try:
            async with asyncio.timeout(timeout):
                reply = await self._exchange(validator, reply, on_date)
        except TimeoutError:
            return _status(reply, 408, "Request timeout")
        return reply

    async def _exchange(  # noqa: PLR0911 - one for each fault
        self, validator: Validator, synapse: Any, on_date: Callable[[float], None] | None
    ) -> Any:
        await asyncio.sleep(validator.latency_seconds)
        match validator.fault:
            case "refused":
                return _status(synapse, 503, f"Service unavailable at {validator.address}")
            case "lost_request" | "slow":
                await asyncio.sleep(3600)
            case "error":
                return _status(synapse, 500, "Internal Server Error #1")
            case "garbage":
                return _status(synapse, 422, "Failed to parse response: 200, body")
        fault = validator.fault
        try:
            reply = await validator.answer(synapse)
        except NotPermitted as error:
            return _status(synapse, 403, f"Forbidden. Key is blacklisted: {error}.")
        except MinerError as error:
            return _status(synapse, error.status, str(error))
        if fault == "lost_reply" or validator.fault == "lost_reply":
            return _status(synapse, 503, "Service disconnected: Server disconnected")
        if on_date is not None and validator.tells_date:
            on_date(float(int(true_time())))
        if validator.fault == "absurd":
            reply = reply.model_copy(update={"cooldown_until": 10**15})
        await asyncio.sleep(validator.latency_seconds)
        return _status(reply, 200, "Success")


def _status(reply: Any, status: int, message: str) -> Any:
    reply.dendrite.status_code, reply.dendrite.status_message = status, message
    return reply


# The GPU


class Gpu:
    """Some workers, each of whose jobs takes the same time. Prompts with "bad" in them fail."""

    def __init__(self, disk: Disk, seconds: float = 20.0, workers: int = 1) -> None:
        self.disk = disk
        self.seconds = seconds
        self.workers = workers
        self.alive = True
        self.running: set[str] = set()
        self.begun: list[Job] = []
        self.made: Counter[str] = Counter()
        self.busy_seconds = 0.0
        self.score: float | None = None
        self.service_seconds_hint: float | None = seconds
        self._changed: list[Callable[[], None]] = []

    @property
    def capacity(self) -> int:
        return max(0, self.workers - len(self.running)) if self.alive else 0

    @property
    def slots(self) -> int:
        return self.workers if self.alive else 0

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed.append(changed)

    def announce(self) -> None:
        for changed in self._changed:
            changed()

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        assert self.capacity > 0
        assert job.id not in self.disk.outcomes, "made a second time"
        self.running.add(job.id)
        self.begun.append(job)
        try:
            await asyncio.sleep(self.seconds)
            self.busy_seconds += self.seconds
            self.made[job.task_id or ""] += 1
            if job.spec.prompt and "bad" in job.spec.prompt:
                raise MinerError("cannot be made")
            return Asset(
                f"splat of {job.task_id}".encode(), "spz", 9000, "triposr", {}, score=self.score
            )
        finally:
            self.running.discard(job.id)
            self.announce()

    def cancel(self, job_id: str) -> None:
        """Jobs of the puller are promised."""

    def health(self) -> ExecutorHealth:
        state = "ready" if self.alive else "restarting"
        return ExecutorHealth([WorkerHealth(str(i), state) for i in range(self.workers)])  # type: ignore[arg-type]

    async def drain(self) -> None: ...

    async def reload(self) -> None: ...


# The disk


@dataclass(frozen=True)
class Row:
    """What the journal's record says, as far as it is looked at."""

    id: str
    requester: str
    state: str
    code: str | None = None
    message: str | None = None


@dataclass
class Disk:
    """What survives a kill."""

    facts: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, tuple[Job, float]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Journal:
    """One life's way to the disk: what was only posted is lost by a kill a moment later."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.failed: str | None = None
        self.dead = False
        self._posted: list[Callable[[], None]] = []

    def _post(self, write: Callable[[], None]) -> None:
        if not self._posted:
            asyncio.get_running_loop().call_later(0.02, self._flush)
        self._posted.append(write)

    def _flush(self) -> None:
        posted, self._posted = self._posted, []
        for write in posted if not self.dead else ():
            write()

    def kill(self) -> None:
        self.dead = True

    async def _ask(self) -> None:
        await asyncio.sleep(0.003)
        self._flush()

    async def accept(self, job: Job, deadline_at: float) -> None:
        await self._ask()
        if self.dead:
            return
        if any(other.task_id == job.task_id for other, _ in self.disk.jobs.values()):
            raise KnownTask("known")
        self.disk.jobs[job.id] = job, deadline_at

    def begin(self, job_id: str, attempts: int) -> None:
        self._post(lambda: self.disk.attempts.__setitem__(job_id, attempts))

    put_back = begin

    async def finish(self, job_id: str, outcome: Outcome) -> None:
        await self._ask()
        if not self.dead:
            self.disk.outcomes.setdefault(job_id, outcome)

    def deliver(self, job_id: str) -> None:
        self._post(lambda: self.disk.delivered.add(job_id))

    async def find_task(self, task_id: str) -> Any:
        await self._ask()
        found = (job for job, _ in self.disk.jobs.values() if job.task_id == task_id)
        job = next(found, None)
        if job is None:
            return None
        outcome = self.disk.outcomes.get(job.id)
        if isinstance(outcome, Failure):
            return Row(job.id, job.requester, "failed", outcome.code, outcome.message)
        return Row(job.id, job.requester, "done" if outcome else "running")

    async def asset(self, job_id: str) -> Asset | None:
        await self._ask()
        outcome = self.disk.outcomes.get(job_id)
        return outcome if isinstance(outcome, Asset) else None

    async def unfinished(self) -> list[tuple[Job, float]]:
        return [
            (replace(job, deadline=float("inf"), attempts=self.disk.attempts.get(job.id, 0)), at)
            for job, at in self.disk.jobs.values()
            if job.id not in self.disk.outcomes
        ]

    async def state(self, key: str) -> str | None:
        await self._ask()
        return self.disk.facts.get(key)

    def set_state(self, key: str, value: str) -> None:
        self._post(lambda: self.disk.facts.__setitem__(key, value))

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        self._post(lambda: self.disk.events.append((kind, dict(detail))))


# All of it


class World:
    """A miner among validators; lives that can be ended and begun."""

    def __init__(
        self, *validators: Validator, seconds: float = 20.0, workers: int = 1, **settings: Any
    ) -> None:
        self.validators = list(validators)
        self.settings = PullSettings(**settings)
        self.disk = Disk()
        self.gpu = Gpu(self.disk, seconds, workers)
        self.metrics = PullCounters()
        self.net = Net(self.validators)
        self.wall_error = 0.0
        self.boot = "one"
        self.absent: set[str] = set()
        self.snapshot_at: float | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    def peers(self) -> PeersSnapshot:
        there = [v.peer for v in self.validators if v.hotkey not in self.absent]
        return PeersSnapshot.of(*there, taken_at=self.snapshot_at)

    async def start(self) -> None:
        """A life begins."""
        loop = asyncio.get_running_loop()
        clocks = Clocks(
            steady=loop.time,
            wall=lambda: true_time() + self.wall_error,
            sleep=asyncio.sleep,
            boot=self.boot,
        )
        old = self.gpu
        self.gpu = Gpu(self.disk, old.seconds, old.workers)
        self.gpu.alive, self.gpu.made, self.gpu.begun = old.alive, old.made, old.begun
        self.gpu.busy_seconds, self.gpu.score = old.busy_seconds, old.score
        self.journal = Journal(self.disk)
        queue_settings = QueueSettings(max_attempts=10)
        self.queue = JobQueue(
            self.gpu, self.journal, queue_settings, self.metrics, clocks.steady, clocks.wall
        )
        parts = PullParts(
            MINER, self.net, self.queue, self.gpu, self.journal, self.peers, self.metrics
        )
        self.puller = Puller(parts, self.settings, 7200.0, clocks)
        await self.queue.resume()
        self._tasks = [
            loop.create_task(self.queue.run()),
            loop.create_task(self.puller.run()),
        ]

    async def kill(self) -> None:
        """The life ends at once; what was posted in the last moment is lost."""
        self.journal.kill()
        await self._end()

    async def stop(self) -> None:
        """The life ends in order."""
        await self.queue.drain(60.0)
        await self.puller.settle(10.0)
        await self._end()
        self.journal._flush()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            assert task.cancelled(), task.exception()
        self._tasks = []

    async def __aenter__(self) -> World:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

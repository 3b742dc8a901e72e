"""The daemon as the operator's pages see it, without one: a queue that answers by the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from miner.admission.peers import Peer, PeersSnapshot
from miner.errors import ConfigError, ControlError, QueueFull, UnknownRoute
from miner.executor import ExecutorHealth, WorkerHealth
from miner.job import MAIN, Asset, Failure, Job, Outcome
from miner.metrics import Metrics
from miner.network.chain_reading import ChainState
from miner.network.server import serve
from miner.settings.daemon import QueueSettings
from miner.settings.listening import ListenLimits

FILE = b"ply\x00\xff" * 1000
JOB_ID = "0123456789abcdef" * 2
LIMITS = ListenLimits(max_body_bytes=1024 * 1024, body_seconds=5.0)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x02\x00\x00\x00\x02\x00\x08\x02\x00\x00\x00"
"""As much of a picture of 512 x 512 px as anybody looks at before the worker does."""


PEERS = PeersSnapshot.of(Peer("5F", 1, 2.0, True))


def asset_of(job: Job) -> Asset:
    return Asset(FILE, job.spec.format, 1234, "triposr", {"reconstruct": 0.25, "encode": 0.5})


@dataclass
class FakeTicket:
    job: Job
    queue: FakeQueue

    async def outcome(self) -> Outcome:
        match self.job.spec.prompt:
            case "wait":
                self.queue.waiting.set()
                await asyncio.Event().wait()
            case "late":
                return Failure("deadline_exceeded", 504, "the deadline passed")
            case "fault":
                raise RuntimeError("a secret detail")
        return asset_of(self.job)

    def leave(self) -> None:
        self.queue.left.append(self.job.id)
        self.queue.was_left.set()


@dataclass(frozen=True)
class FakeLine:
    id: str = JOB_ID
    state: str = "running"
    stage: str | None = "text_to_image"
    steps: tuple[int, int] | None = (1, 4)


@dataclass
class FakeQueue:
    """Also its own snapshot. Prompts "full", "late", "fault" and "wait" mean what they say."""

    accepting: bool = True
    depth: int = 3
    in_flight: int = 1
    service_seconds: float | None = 1.5
    oldest_seconds: float | None = None
    jobs: Sequence[FakeLine] = (FakeLine(),)
    submitted: list[Job] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    was_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, job: Job) -> FakeTicket:
        if job.spec.prompt == "full":
            raise QueueFull("3 jobs wait already")
        self.submitted.append(job)
        return FakeTicket(job, self)

    def snapshot(self) -> FakeQueue:
        return self


@dataclass(frozen=True)
class FakeRecord:
    id: str = JOB_ID
    identity: str = MAIN
    requester: str = "local"
    state: str = "done"
    code: str | None = None
    message: str | None = None
    status: int | None = None
    intake: str = "api"
    prompt: str | None = "a red cube"
    seed: int = 0
    format: str = "ply"
    attempts: int = 1
    generator: str | None = "triposr"
    gaussians: int | None = 1234
    bytes: int | None = 6000
    timings: Mapping[str, float] = field(default_factory=lambda: {"encode": 0.5})
    score: float | None = None
    candidates: int | None = 1
    accepted_at: float = 1000.0
    begun_at: float | None = 1001.0
    finished_at: float | None = 1002.0
    delivered_at: float | None = None
    kept: bool = True


@dataclass(frozen=True)
class FakeDecision:
    at: float = 1000.0
    kind: str = "rollback"
    detail: Mapping[str, Any] = field(default_factory=lambda: {"cause": "failures"})


@dataclass
class FakeJournal:
    """Also its own statistics."""

    failed: str | None = None
    file_bytes: int = 4096
    jobs: int = 7
    unfinished: int = 1
    results: int = 2
    result_bytes: int = 10_000
    records: dict[str, FakeRecord] = field(default_factory=dict)
    assets: dict[str, Asset] = field(default_factory=dict)
    delivered: list[str] = field(default_factory=list)
    decisions: Sequence[FakeDecision] = (FakeDecision(), FakeDecision(kind="drain"))

    @property
    def stats(self) -> FakeJournal:
        return self

    async def find(self, job_id: str) -> FakeRecord | None:
        return self.records.get(job_id)

    async def recent(self, limit: int) -> Sequence[FakeRecord]:
        return list(self.records.values())[:limit]

    async def events(self, limit: int, kind: str | None = None) -> Sequence[FakeDecision]:
        return [one for one in self.decisions if kind in (None, one.kind)][-limit:]

    async def asset(self, job_id: str) -> Asset | None:
        return self.assets.get(job_id)

    def deliver(self, job_id: str) -> None:
        self.delivered.append(job_id)


@dataclass
class FakeExecutor:
    workers: tuple[WorkerHealth, ...] = (
        WorkerHealth("0", "busy", pid=4321, device="cpu", memory={"resident": 1024}),
    )

    def health(self) -> ExecutorHealth:
        return ExecutorHealth(self.workers)


@dataclass
class FakeIdentity:
    """Implements ``IdentityView``."""

    name: str = MAIN
    hotkey: str | None = None
    waiting: int = 0
    peers: PeersSnapshot | None = PEERS
    chain: ChainState | None = None
    troubled: tuple[str, ...] = ()

    def reasons(self) -> Sequence[str]:
        return self.troubled


@dataclass
class FakeView:
    """Implements ``DaemonView``; ready unless something of it is changed."""

    version: str = "1.2.3"
    preset: str = "mini"
    device: str = "cpu"
    identities: list[FakeIdentity] = field(default_factory=lambda: [FakeIdentity()])
    generator: str | None = "triposr"
    started_at: float = 100.0
    addresses: Mapping[str, str] = field(default_factory=lambda: {"api": "http://127.0.0.1:8093"})
    queue: FakeQueue = field(default_factory=FakeQueue)
    journal: FakeJournal = field(default_factory=FakeJournal)
    executor: FakeExecutor = field(default_factory=FakeExecutor)
    metrics: Metrics = field(default_factory=Metrics)
    queue_settings: QueueSettings = field(default_factory=QueueSettings)
    rollback: Mapping[str, Any] | None = None
    troubled: tuple[str, ...] = ()
    asked: list[dict[str, Any]] | None = None

    def gateways(self) -> Sequence[Mapping[str, Any]]:
        return ({"gateway": "https://gateway.example", "owed": 1},)

    def validators(self) -> Sequence[Mapping[str, Any]]:
        if self.asked is None:
            raise UnknownRoute("no validator is asked for tasks")
        return self.asked

    def troubles(self) -> Sequence[str]:
        return self.troubled


@dataclass(frozen=True)
class FakeReload:
    applied: tuple[str, ...] = ("admission.min_stake",)
    waiting: tuple[str, ...] = ("axon.port",)


@dataclass
class FakeDaemon:
    """Implements ``DaemonControl``."""

    view: FakeView
    broken_settings: bool = False
    stopped: bool = False

    async def drain(self) -> None:
        self.view.queue.accepting = False
        self.view.queue.depth = self.view.queue.in_flight = 0

    async def reload(self) -> FakeReload:
        if self.broken_settings:
            raise ConfigError("axon.port: must be a number")
        return FakeReload()

    async def precision(self, mode: str) -> Mapping[str, Any]:
        if mode == "nf4":
            raise ControlError("nf4: did not warm up; the models are as they were")
        stage = {"component": "transformer", "precision": mode, "residency": "resident"}
        return {"precision": mode, "plan": {"stages": [stage], "warnings": ["as far as it goes"]}}

    def rollback(self) -> Mapping[str, Any]:
        if self.view.rollback is None:
            raise ControlError("there is no generator to roll back to")
        return {**self.view.rollback, "state": "pinned", "generator": "dreamgaussian"}

    def restore(self, hold: bool) -> Mapping[str, Any]:
        state = "pinned" if hold else "closed"
        return {**(self.view.rollback or {}), "state": state, "generator": "triposr"}

    def stop(self) -> None:
        self.stopped = True


@asynccontextmanager
async def client_of(
    application: web.Application, metrics: Metrics
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the application on a real socket; its paths begin with a slash."""
    served = serve(
        application, name="test", host="127.0.0.1", port=0, limits=LIMITS, metrics=metrics
    )
    async with served as listening, aiohttp.ClientSession(listening.url) as session:
        yield session

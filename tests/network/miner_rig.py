"""A whole miner without a GPU: socket, axon, gate, intake, queue and journal; the work is faked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miner.admission.gate import Gate, NonceTable
from miner.executor import ExecutorHealth, OnProgress, WorkerHealth
from miner.job import MAIN, Asset, Job
from miner.job_queue import JobQueue
from miner.journal import Journal, Partition
from miner.metrics import Metrics
from miner.network.axon import Axon
from miner.network.intake import ValidatorIntake
from miner.network.server import serve
from miner.network.synapse import Synapse
from miner.settings.daemon import JournalSettings, QueueSettings
from miner.settings.listening import ListenLimits
from tests.network.axon_rig import GENEROUS, MINER, PEERS, Reply, request_bytes, send, signed


class FakeExecutor:
    """Does one job at a time, each when ``go`` is set; the asset is made of its prompt."""

    service_seconds_hint = 0.01
    slots = 1

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.begun: list[Job] = []
        self.changed: list[Callable[[], None]] = []
        self._busy = False

    @property
    def capacity(self) -> int:
        return 0 if self._busy else 1

    def subscribe(self, changed: Callable[[], None]) -> None:
        self.changed.append(changed)

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        self._busy = True
        self.begun.append(job)
        try:
            await self.go.wait()
            data = f"splat of {job.spec.prompt}".encode()
            return Asset(data, job.spec.format, 10, "stub", {"encode": 0.01})
        finally:
            self._busy = False
            for changed in self.changed:
                changed()

    def cancel(self, job_id: str) -> None:
        pass

    def health(self) -> ExecutorHealth:
        return ExecutorHealth([WorkerHealth("0", "busy" if self._busy else "ready")])

    async def drain(self) -> None:
        pass

    async def reload(self) -> None:
        pass


@dataclass
class Life:
    """One life of the miner."""

    port: int
    executor: FakeExecutor
    queue: JobQueue
    journal: Journal

    async def call(self, synapse: Synapse, **options: Any) -> Reply:
        """Sends an honest request and reads the reply."""
        return await self.send(*signed(synapse, **options), f"/{synapse.name}")

    async def send(self, headers: dict[str, str], body: bytes, path: str) -> Reply:
        """Sends a request as it is."""
        return await send(self.port, request_bytes(headers, body, path))


@asynccontextmanager
async def life(folder: Path, clean: bool = True) -> AsyncIterator[Life]:
    """A miner with its state in ``folder``; ``clean`` is False for one that ends by a crash."""
    limits, metrics, executor = ListenLimits(), Metrics(), FakeExecutor()
    async with await Journal.open(folder, JournalSettings()) as journal:
        nonces = await NonceTable.open(GENEROUS, journal)
        gate = Gate(MINER.ss58_address, GENEROUS, lambda: PEERS, nonces)
        settings = QueueSettings(max_depth=3)
        queue = JobQueue(executor, journal, settings, metrics)
        part = Partition(journal, MAIN)
        intake = ValidatorIntake(queue, part, settings, MINER.ss58_address)
        axon = Axon(MINER, gate, intake.handlers(), metrics.of(MAIN), limits)
        await queue.resume()
        running = asyncio.create_task(queue.run())
        where = {"name": "axon", "host": "127.0.0.1", "port": 0}
        try:
            async with serve(axon.handle, **where, limits=limits, metrics=metrics) as listening:
                yield Life(listening.port, executor, queue, journal)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if clean:
                nonces.close()

"""The executor with worker processes of this host: one for each GPU, or one on the CPU.

Starts and ends them together; what goes on between is the pool's, and how one worker is kept alive
the supervisor's business. Uses no library of the models.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from miner.settings import Settings, WorkerSettings, worker_environment
from miner.workers.changes import Changes
from miner.workers.life import Tools, WorkerMetrics
from miner.workers.pool import Pool
from miner.workers.process import WorkerProcess

log = logging.getLogger(__name__)

ENGINE = "miner.workers.engine:PipelineEngine"


class LocalExecutor(Pool):
    """Does jobs in worker processes of this host; see ``Executor``.

    ``async with`` it: entering returns when the first worker is ready, leaving ends them all.

    Args:
        settings: preset, device and weights of the engines.
        worker: how many, on which GPUs, and their limits.
        metrics: told how the workers are.
        engine: ``module:Class`` of an ``Engine``, imported by the workers alone.
        clock: monotonic seconds.
        sleep: waits between the looks at a worker, and between its lives.

    Raises:
        ConfigError: ``CUDA_VISIBLE_DEVICES`` does not show one of ``worker.gpus``.
    """

    def __init__(
        self,
        settings: Settings,
        worker: WorkerSettings,
        metrics: WorkerMetrics,
        engine: str = ENGINE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(settings, Tools(worker, Changes(), metrics, clock, sleep))
        self._tasks: list[asyncio.Task[None]] = []
        for index in range(worker.count):
            name, gpu = str(index), worker.gpus[index] if worker.gpus else None
            self._new_worker(name, partial(_spawn, name, engine, worker_environment(gpu)))

    def _begin(self) -> None:
        self._tasks = [
            asyncio.create_task(supervisor.run(), name=f"worker {supervisor.name}")
            for supervisor in self.supervisors
        ]

    async def run(self) -> None:
        """Waits until a worker cannot be kept alive: to be run beside the rest of the daemon.

        Raises:
            StartupError: a worker could not start the first time.
        """
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _spawn(name: str, engine: str, environment: Mapping[str, str]) -> WorkerProcess:
    return await WorkerProcess.spawn(name, engine, environment)

"""Hands generations to the executor while it has capacity, and makes outcomes of what comes back.

A lost worker costs an attempt, not the job, as long as attempts are left and somebody wants it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from miner.errors import CapacityError, MinerError, WorkerLost
from miner.executor import Executor
from miner.job import Asset, Failure, Job
from miner.job_queue.board import Board
from miner.job_queue.contracts import Promises, QueueMetrics
from miner.job_queue.generation import Generation
from miner.job_queue.service_time import ServiceTime

BROKEN = Failure("internal", 500, "the miner made a mistake; its log says which")

UNKNOWN = 1.0
"""Seconds that a job is taken to need before the first was done: all alike."""

log = logging.getLogger(__name__)


class Dispatcher:
    """The loop that begins work.

    Args:
        max_attempts: how often a generation may be begun, as it is set at the moment.
    """

    def __init__(
        self,
        executor: Executor,
        board: Board,
        service: ServiceTime,
        journal: Promises,
        metrics: QueueMetrics,
        max_attempts: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._executor = executor
        self._board = board
        self._service = service
        self._journal = journal
        self._metrics = metrics
        self._max_attempts = max_attempts
        self._clock = clock
        self.handed = 0
        """Begun, while the executor has not counted them yet."""

    async def run(self) -> None:
        """Begins work until cancelled, and then cancels what runs."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._board.wake.clear()
                self._board.expire()
                self._begin(group)
                self._metrics.queue(self._board.queued, len(self._board.running))
                await self._board.wake.wait()

    def _begin(self, group: asyncio.TaskGroup) -> None:
        while self._executor.capacity > self.handed:
            generation = self._board.next(self._service.fastest(self._clock()))
            if generation is None:
                return
            self.handed += 1
            job = self._board.begin(generation, self._service.typical(self._clock()) or UNKNOWN)
            group.create_task(self._attempt(generation, job), name=f"job {job.id}")

    async def _attempt(self, generation: Generation, job: Job) -> None:
        self.handed -= 1  # from here to the executor's own count nothing else runs
        started = self._clock()
        try:
            asset = await self._executor.submit(job, generation.progress)
        except WorkerLost as error:
            self._lost(generation, job, error)
        except CapacityError as error:
            log.info("job %s is handed back: %s", job.id, error)
            self._board.put_back(generation, counts=False)
        except MinerError as error:
            self._board.end(generation, Failure.of(error))
        except Exception:
            log.exception("job %s failed in a way that was not foreseen", job.id)
            self._board.end(generation, BROKEN)
        else:
            self._service.add(self._clock() - started, self._clock())
            self._count(asset)
            self._board.end(generation, asset)

    def _lost(self, generation: Generation, job: Job, error: WorkerLost) -> None:
        again = generation.attempts < self._max_attempts() and generation.wanted
        detail = {"job": job.id, "attempts": generation.attempts, "again": again}
        self._journal.event("worker_lost", {**detail, "reason": str(error)})
        log.warning("job %s: %s; %s", job.id, error, "again" if again else "given up")
        if again:
            self._board.put_back(generation, counts=True)
        else:
            self._board.end(generation, Failure.of(error))

    def _count(self, asset: Asset) -> None:
        self._metrics.asset(asset.generator, len(asset.data), asset.gaussians)
        for stage, seconds in asset.timings.items():
            self._metrics.stage(stage, asset.generator, seconds)

"""Whether the workers are looked after: what the watchdog's sign of life depends on.

A worker that crashes or hangs is replaced by its supervisor, and the daemon lives on meanwhile; a
restart of the whole daemon would only load the same models later. So a sign is withheld where the
supervisor itself no longer does its work: a worker is said to be up and has been silent far beyond
its limit, or none has been up for longer than loading and waiting can take.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from miner.executor import ExecutorHealth, WorkerHealth
from miner.settings import WorkerSettings

SILENT_HANGS = 2.0
"""A worker is killed after ``hang_seconds`` of silence; at this many of them nobody did it."""


class Liveness:
    """Asked again and again whether all is well; true while it is.

    Args:
        health: how the workers are now.
        settings: of the workers.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        health: Callable[[], ExecutorHealth],
        settings: WorkerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._health = health
        self._silence_seconds = SILENT_HANGS * settings.hang_seconds
        self._absence_seconds = settings.start_seconds + settings.max_restart_backoff_seconds
        self._clock = clock
        self._fresh_at = clock()

    def __call__(self) -> bool:
        """True while a worker gives signs of life, or one is being replaced in time."""
        now, workers = self._clock(), self._health().workers
        if any(self._is_fresh(worker) for worker in workers):
            self._fresh_at = now
            return True
        replaced = any(worker.state in ("starting", "restarting") for worker in workers)
        return replaced and now - self._fresh_at <= self._absence_seconds

    def _is_fresh(self, worker: WorkerHealth) -> bool:
        up = worker.state in ("ready", "busy", "draining")
        age = worker.heartbeat_age
        return up and age is not None and age <= self._silence_seconds

"""What the queue knows of those who do the work: a few methods, and nothing of how.

Implemented by ``workers/local_executor.py`` with worker processes of this host, and by
``ray_workers/executor.py`` with actors of a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from miner.job import Asset, Job

WorkerState = Literal["starting", "ready", "busy", "draining", "restarting", "stopped", "failed"]

OnProgress = Callable[[str, int, int], None]
"""Called in the event loop with a stage's name, its steps done and its steps in all."""


@dataclass(frozen=True)
class WorkerHealth:
    """One worker as it was last seen. Memory in bytes; None where it is not known.

    Attributes:
        name: stable over restarts, as in "0".
        restarts: deaths since the daemon began.
        heartbeat_age: seconds since the last sign of life; None before the first.
        job_id: what it works on.
        memory: readings by name: "resident", and on CUDA "gpu_allocated", "gpu_reserved",
            "gpu_peak", "gpu_used", "gpu_total", "gpu_outside".
        load_seconds: what loading and warming up took, by stage.
        last_error: one line about the last death or failed start.
        plan: which part lies where, as JSON values of a ``MemoryPlan``; empty where none was made.
        node: the host it runs on; None for the daemon's own.
        generators: that it holds, as it said when it was last ready.
    """

    name: str
    state: WorkerState
    pid: int | None = None
    device: str | None = None
    restarts: int = 0
    heartbeat_age: float | None = None
    job_id: str | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    load_seconds: Mapping[str, float] = field(default_factory=dict)
    last_error: str | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    node: str | None = None
    generators: Sequence[str] = ()


@dataclass(frozen=True)
class ExecutorHealth:
    """All workers; the service is ready while one is."""

    workers: Sequence[WorkerHealth]

    @property
    def ready(self) -> bool:
        """Whether some worker can take work, now or after the job it is at."""
        return any(worker.state in ("ready", "busy") for worker in self.workers)


class Executor(Protocol):
    """Does jobs. One caller, in one event loop."""

    @property
    def capacity(self) -> int:
        """How many more jobs could begin at once; 0 while none can."""

    @property
    def slots(self) -> int:
        """How many new jobs can be done at a time: workers for them that are ready or busy."""

    @property
    def service_seconds_hint(self) -> float | None:
        """What the warm-up job took: an estimate until real jobs give a better one."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Has ``changed`` called in the event loop whenever ``capacity`` may have grown."""

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        """Does one job; to be called while ``capacity`` is above 0.

        Cancelling the caller cancels the job.

        Raises:
            WorkerLost: the worker died, hung or was killed under the job: it may be tried again.
            JobError: the job failed, was cancelled or ran out of memory; trying again is no use.
            RequestError: the picture or prompt turned out not to be usable.
        """

    def cancel(self, job_id: str) -> None:
        """Asks a running job to stop at its next look; its ``submit`` raises ``JobCancelled``."""

    def health(self) -> ExecutorHealth:
        """How the workers are."""

    async def drain(self) -> None:
        """Returns when no job is running; takes no new ones from now on."""

    async def reload(self) -> None:
        """Replaces the workers one after the other, each after its job; returns when all are."""

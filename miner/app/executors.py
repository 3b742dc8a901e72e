"""Which executor does the jobs: the settings' choice. What the other one needs is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from miner.settings import Settings
from miner.workers.life import WorkerMetrics
from miner.workers.local_executor import LocalExecutor

if TYPE_CHECKING:
    from miner.ray_workers.executor import RayExecutor

PoolExecutor = Union[LocalExecutor, "RayExecutor"]
"""An executor that the daemon can also begin, end and ask for its generators."""


def executor_for(settings: Settings, metrics: WorkerMetrics, engine: str) -> PoolExecutor:
    """The executor that ``worker.executor`` names, not entered yet.

    Args:
        settings: of the engines and of the workers.
        metrics: told how the workers are.
        engine: ``module:Class`` of an ``Engine``, imported by the workers alone.
    """
    if settings.daemon.worker.executor == "local":
        return LocalExecutor(settings, settings.daemon.worker, metrics, engine)
    from miner.ray_workers.executor import RayExecutor  # noqa: PLC0415 - only where it is chosen

    return RayExecutor(settings, metrics, engine)

"""Real Ray clusters of several nodes on this machine, and executors on them with fake engines."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from miner.executor import WorkerHealth
from miner.ray_workers.executor import RayExecutor
from miner.settings import Settings, load_settings
from tests.fakes.workers import Metrics, Time, job, until

if TYPE_CHECKING:
    from ray._private.node import Node
    from ray.cluster_utils import Cluster

ROOT = Path(__file__).resolve().parents[2]
HERE = {"PYTHONPATH": str(ROOT)}

WATCHFUL = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
"""A head that counts a node as dead after seconds; a node that is merely slow has ten for each."""

INSTALLED = importlib.util.find_spec("ray") is not None

needs_ray = pytest.mark.skipif(
    not INSTALLED and os.environ.get("CI") != "true",
    reason="Ray is not installed; make test RAY=1 installs it",
)

WORKER = {
    "executor": "ray",
    "heartbeat_seconds": 0.2,
    "hang_seconds": 20.0,
    "restart_backoff_seconds": 0.05,
    "max_restart_backoff_seconds": 0.2,
}


NOTHING: Mapping[str, int] = MappingProxyType({})


class Nodes:
    """A cluster: a head that holds no workers, and nodes that come and go."""

    def __init__(self) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        self._cluster: Cluster
        self._start(port=0)

    def _start(self, port: int) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - a second, and it may be missing

        self._cluster = Cluster()
        self.head = self._cluster.add_node(
            num_cpus=0,
            include_dashboard=False,
            gcs_server_port=port,
            env_vars=HERE,
            _system_config=WATCHFUL,
        )
        self.port = int(self.address.rpartition(":")[2])

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, **options: Any) -> Node:
        return self._cluster.add_node(**{"num_cpus": 1, "env_vars": HERE} | options)

    def kill(self, node: Node) -> None:
        """As a power cut does."""
        self._cluster.remove_node(node, allow_graceful=False)

    def restart(self) -> None:
        """A new head at the address of the one that was closed, without any nodes."""
        self._start(self.port)

    def close(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Nodes]:
    """A cluster with so many nodes for workers, ended afterwards."""
    made = Nodes()
    try:
        for _ in range(nodes):
            made.add()
        yield made
    finally:
        made.close()


@dataclass
class OnRay:
    """An executor on a cluster."""

    executor: RayExecutor
    metrics: Metrics
    folder: Path

    def workers(self, state: str | None = None) -> list[WorkerHealth]:
        """Those in a state, or all."""
        found = self.executor.health().workers
        return [one for one in found if state is None or one.state == state]

    async def until_ready(self, count: int) -> None:
        await until(lambda: len(self.workers("ready")) == count)

    async def make(self, prompt: str, seed: int = 0) -> bytes:
        return (await self.executor.submit(job(prompt, seed))).data

    def begin(self, prompt: str) -> asyncio.Task[bytes]:
        return asyncio.create_task(self.make(prompt))


def settings_for(
    folder: Path, address: str, spread: Mapping[str, int] = NOTHING, **ray: Any
) -> Settings:
    worker = {**WORKER, "spread": dict(spread)}
    sections = {"worker": worker, "ray": {"address": address, "silence_seconds": 5.0} | ray}
    flags = {"weights": str(folder), "device": "cpu", **sections}
    return load_settings("mini", flags, environ={})


@contextlib.asynccontextmanager
async def on_ray(
    engine: str, folder: Path, address: str, spread: Mapping[str, int] = NOTHING, **ray: Any
) -> AsyncIterator[OnRay]:
    """An executor with an engine of ``tests.fakes.engines``, entered."""
    metrics = Metrics(Time())
    name = f"tests.fakes.engines:{engine}"
    executor = RayExecutor(settings_for(folder, address, spread, **ray), metrics, engine=name)
    async with executor:
        yield OnRay(executor, metrics, folder)


def raylet_of(pid: int) -> int:
    """The process of the node that an actor runs on."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return int(text.rpartition(")")[2].split()[1])


def raylet(node: Node) -> int:
    return int(node.all_processes["raylet"][0].process.pid)

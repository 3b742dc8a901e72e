"""The executor on a Ray cluster: one actor for each GPU, wherever Ray places it.

Jobs, draining, reloads and the care for one worker are the same as with worker processes of this
host (``workers/pool.py``, ``workers/supervisor.py``); Ray knows the nodes and places the actors.
Here the pool follows the cluster: workers are added as nodes come, and those that have no place are
taken away as nodes go; where the last one with a generator is, another changes over. While the
cluster is lost there is no capacity, and the daemon is not ready.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from miner.errors import StartupError
from miner.ray_workers.demand import Demand, demand, has_gpus
from miner.ray_workers.link import Link
from miner.ray_workers.pace import Paces
from miner.ray_workers.remote import RemoteWorker
from miner.ray_workers.wire import Node
from miner.settings import RaySettings, Settings
from miner.workers.changes import Changes
from miner.workers.life import SLOW, Tools, WorkerMetrics
from miner.workers.local_executor import ENGINE
from miner.workers.pool import Pool
from miner.workers.supervisor import Supervisor

MIN_RETRY_SECONDS = 1.0
"""Before a worker that could not start is tried again, however short the settings' waits are."""

log = logging.getLogger(__name__)


class RayExecutor(Pool):
    """Does jobs in actors of a Ray cluster; see ``Executor``.

    ``async with`` it: entering returns when the first worker is ready, leaving ends them all, and
    the cluster where it was started here.

    Args:
        settings: preset, device and weights of the engines; the weights lie at the same path on
            every node. Which cluster is in ``settings.daemon.ray``, and the limits of its workers
            in ``settings.daemon.worker``.
        metrics: told how the workers are.
        engine: ``module:Class`` of an ``Engine``, imported by the actors alone.
        clock: monotonic seconds.
        sleep: waits between the looks at a worker, and between its lives.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        engine: str = ENGINE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        worker = settings.daemon.worker
        super().__init__(settings, Tools(worker, Changes(), metrics, clock, sleep))
        self._settings: RaySettings = settings.daemon.ray
        self._device = settings.device
        ray = self._settings  # one generator takes many times as long as another
        self._paces: defaultdict[str, Paces] = defaultdict(
            lambda: Paces(ray.slow_factor, ray.slow_jobs)
        )
        self._link = Link(engine, self._settings, self._tools, self._saw)
        self._link_task: asyncio.Task[None] | None = None
        self._tasks: dict[Supervisor, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._refused: dict[Supervisor, StartupError] = {}
        self._nodes: Sequence[Node] = ()
        self._had_gpus = False

    def _begin(self) -> None:
        """Joins or starts the cluster; workers follow its nodes."""
        self._link_task = asyncio.create_task(self._link.run(), name="ray link")
        self._link_task.add_done_callback(lambda _: self._changes.announce())

    async def run(self) -> None:
        """Waits until the link to the cluster cannot be kept: to be run beside the daemon."""
        assert self._link_task is not None
        await asyncio.wait((self._link_task,))
        self._link_task.result()

    def _did(self, supervisor: Supervisor, seconds: float) -> None:
        """A worker that is slow is replaced: on another card, or after whatever held it up."""
        name, paces = supervisor.name, self._paces_of(supervisor)
        paces.did(name, seconds)
        if (times := paces.times_slower(name)) is None:
            return
        paces.forget(name)
        node = supervisor.health().node
        log.warning("worker %s on %s: %.1f times slower than others, replaced", name, node, times)
        supervisor.leave(SLOW)

    def _paces_of(self, supervisor: Supervisor) -> Paces:
        return self._paces[self._share_of(supervisor)]

    def _change_over(self, supervisor: Supervisor, share: str) -> None:
        self._paces_of(supervisor).forget(supervisor.name)
        super()._change_over(supervisor, share)

    # The cluster

    @property
    def wanted(self) -> Demand:
        """Of the nodes there are now."""
        return demand(self._device, self._settings, self._nodes, self._had_gpus)

    def _saw(self, nodes: Sequence[Node]) -> None:
        """Follows the nodes that are alive."""
        if {node.id for node in nodes} != {node.id for node in self._nodes}:
            addresses = sorted(node.address for node in nodes)
            log.info("ray: %d nodes now: %s", len(nodes), ", ".join(addresses))
        self._nodes, self._had_gpus = nodes, self._had_gpus or has_gpus(nodes)
        count = max(1, self.wanted.count)  # one waits for a place where there is none
        while len(self.supervisors) < count:
            self._add()
        idle = [one for one in reversed(self.supervisors) if not one.has_process]
        for supervisor in idle[: max(0, len(self.supervisors) - count)]:
            self._remove(supervisor)
        self._even_out()

    def _add(self) -> None:
        taken = {one.name for one in self.supervisors}
        name = next(str(i) for i in range(len(taken) + 1) if str(i) not in taken)
        supervisor = self._new_worker(name, partial(self._spawn, name))
        self._tasks[supervisor] = asyncio.create_task(
            self._keep(supervisor), name=f"worker {supervisor.name}"
        )

    def _remove(self, supervisor: Supervisor) -> None:
        log.info("worker %s: no place for it any more", supervisor.name)
        self.supervisors.remove(supervisor)
        self._paces_of(supervisor).forget(supervisor.name)
        self._refused.pop(supervisor, None)
        task = self._tasks.pop(supervisor)
        task.cancel()
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _spawn(self, name: str) -> RemoteWorker:
        return await self._link.spawn(name, self.wanted)

    async def _keep(self, supervisor: Supervisor) -> None:
        """Runs a worker; one that cannot start on its node is tried again: others may do."""
        try:
            await supervisor.run()
        except StartupError as error:
            self._refused[supervisor] = error
            self._changes.announce()
            log.error("worker %s: cannot start: %s", supervisor.name, error)
        wait = self._tools.settings.max_restart_backoff_seconds
        await self._tools.sleep(max(wait, MIN_RETRY_SECONDS))
        if supervisor in self.supervisors:  # a new one takes its place and name
            self.supervisors.remove(supervisor)
            self._tasks.pop(supervisor)
            self._refused.pop(supervisor, None)
            self._add()

    def _failure(self) -> StartupError | None:
        """Why there will be no worker: no cluster, or none of the workers could start."""
        if self._link.failure is not None:
            return self._link.failure
        if self.supervisors and all(one in self._refused for one in self.supervisors):
            return self._refused[self.supervisors[0]]
        return None

    def _is_placed(self, supervisor: Supervisor) -> bool:
        return supervisor.has_process

    async def _end(self) -> None:
        tasks = [*self._tasks.values(), *self._leaving, *filter(None, [self._link_task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

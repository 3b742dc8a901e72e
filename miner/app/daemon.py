"""The composition root: builds every part of the daemon, joins them, and takes them down in order.

Up: lock and journal, what an operator asks (control socket, metrics), workers loaded and warm, the
queue with what the last life left in it, then the doors through which work comes. Down: new work is
refused, what was accepted is finished within the limit, the doors close, the workers end, the
journal is checkpointed. If any part fails, the daemon ends with that failure: whoever runs it
restarts it, and the journal knows what was promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import structlog

from miner import logs
from miner.app import preflight, upkeep
from miner.app.causes import cause
from miner.app.doors import Doors
from miner.app.executors import executor_for
from miner.app.identities import Identities
from miner.app.identity import Identity, Shared
from miner.app.parts import Parts
from miner.app.reload import Changes, compare, in_precision, live_part
from miner.app.rollback import Rollback
from miner.app.rollback_executor import RollbackExecutor
from miner.app.service_manager import ServiceManager
from miner.app.signals import handled
from miner.app.telling import Teller
from miner.errors import ControlError, MinerError, StartupError
from miner.job import MAIN
from miner.job_queue import IdentityQueue, JobQueue
from miner.journal import Journal, Partition
from miner.metrics import Metrics
from miner.network.control import serve_control
from miner.settings import (
    DaemonSettings,
    IdentitySettings,
    Loaded,
    notify_address,
    watchdog_seconds,
)
from miner.workers.local_executor import ENGINE

SETTLE_SECONDS = 10.0
"""For bringing the last results when the daemon stops; the next life tries again."""

log = structlog.get_logger(__name__)


class Daemon:
    """One life of the daemon; implements ``DaemonControl``.

    Args:
        loaded: the settings to run with.
        reread: reads the settings again, for a reload.
        engine: what the workers run; see ``executor_for``.
        substrate: makes what stands in for the chain's network; see ``Connections``.
    """

    def __init__(
        self,
        loaded: Loaded,
        reread: Callable[[], Loaded],
        engine: str = ENGINE,
        substrate: Callable[[], Any] | None = None,
    ) -> None:
        self._first = loaded.settings
        self._reread = reread
        self._engine = engine
        self._substrate = substrate
        self._teller = Teller(ServiceManager(notify_address(), watchdog_seconds()))
        self._stop_asked = asyncio.Event()
        self._parts: Parts | None = None
        self._main: asyncio.Task[object] | None = None
        self._doors: Doors | None = None
        self._reloads: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Runs until asked to stop; returns when all is down.

        Raises:
            StartupError: something the operator must mend.
            MinerError: a part failed while running.
        """
        self._main = asyncio.current_task()
        logs.configure(self._first.daemon.log, sys.stderr)
        preflight.raise_open_files()
        try:
            with handled(self.stop, self._reload_soon):
                async with contextlib.AsyncExitStack() as stack:
                    await self._live(stack)
        except asyncio.CancelledError:
            if not self._stop_asked.is_set():
                raise
        except BaseExceptionGroup as group:
            raise cause(group) from group
        log.info("stopped")

    def stop(self) -> None:
        """Begins the orderly stop and returns at once.

        While models still load there is nothing to drain: everything is taken down directly.
        """
        if not self._stop_asked.is_set():
            self._teller.stopping()
        self._stop_asked.set()
        if (self._parts is None or not self._parts.open) and self._main is not None:
            self._main.cancel()

    async def drain(self) -> None:
        """Refuses new work; returns when none is left or the limit is over. The daemon stays up."""
        assert self._parts is not None
        await self._parts.queue.drain(self._parts.queue_settings.drain_seconds)

    async def reload(self) -> Changes:
        """Reads the settings again, and lets hold what can.

        Raises:
            ConfigError: they do not hold; nothing was changed.
        """
        assert self._parts is not None
        with self._teller.reloading(self._parts):
            return self._reload(self._parts)

    def _reload(self, parts: Parts) -> Changes:
        new = self._reread().settings
        changes = compare(parts.settings, new)
        settings = live_part(parts.settings, new)
        parts.keeper.reconfigure(settings.daemon.identities, new.daemon.queue)
        parts.settings = settings
        parts.queue.settings = new.daemon.queue
        parts.queue.shares.shares = shares(settings.daemon)
        parts.breaker.reconfigure(new.daemon.rollback)
        logs.configure(new.daemon.log, sys.stderr)
        log.info("reloaded", applied=changes.applied, after_restart=changes.waiting)
        return changes

    async def precision(self, mode: str) -> Mapping[str, Any]:
        """Loads the models anew in a precision mode, after the jobs at work; the plan then.

        Holds until a restart. What ``precision_of`` sets for single components stays.

        Raises:
            BadOption: there is no such mode.
            ControlError: they did not load or warm up, and are as they were; or the daemon is
                still loading.
        """
        parts = self._parts
        if parts is None or not parts.open:
            raise ControlError("the daemon is starting or stopping")
        before = parts.settings.preset.memory.precision
        try:
            await parts.executor.reload(in_precision(parts.settings, mode))
        except StartupError as error:
            log.error("precision_refused", mode=mode, reason=str(error))
            raise ControlError(f"precision {mode}: {error}; {before} holds as before") from error
        parts.settings = in_precision(parts.settings, mode)
        parts.queue.forget_service_times()
        plan = dict(next((one.plan for one in parts.executor.health().workers), {}))
        log.info("precision", mode=mode, before=before)
        return {"precision": mode, "plan": plan}

    def rollback(self) -> Mapping[str, Any]:
        """Has new jobs go to the rollback generator until ``restore``.

        Raises:
            ControlError: there is none, or the daemon is still loading.
        """
        return self._breaker().rollback()

    def restore(self, hold: bool) -> Mapping[str, Any]:
        """Has new jobs go to the primary; see ``Rollback.restore``.

        Raises:
            ControlError: the daemon is still loading.
        """
        return self._breaker().restore(hold)

    def _breaker(self) -> Rollback:
        if self._parts is None or not self._parts.open:
            raise ControlError("the daemon is starting or stopping")
        return self._parts.breaker

    # Up and down

    async def _live(self, stack: contextlib.AsyncExitStack) -> None:
        async with self._teller.loading(self._first.preset.name):
            await preflight.check(self._first)
            parts = await self._build(stack)
            log.info("loading", preset=parts.preset, workers=parts.settings.daemon.worker.count)
            await stack.enter_async_context(parts.executor)
            await parts.breaker.recall(parts.executor.generators)
            resumed = await parts.queue.resume()
        parts.metrics.build_info(parts.version, parts.preset, parts.device)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in self._background(parts)]
            async with contextlib.AsyncExitStack() as doors:
                assert self._doors is not None
                await self._doors.open(doors)
                await parts.keeper.opened()
                parts.open = True
                # What is here now stays: the collector need not walk it again and again.
                gc.collect()
                gc.freeze()
                seconds = round(time.monotonic() - parts.started_at, 2)
                log.info("ready", seconds=seconds, resumed=resumed, **parts.addresses)
                self._teller.ready(parts)
                await self._stop_asked.wait()
                log.info("draining", jobs=parts.queue.snapshot().in_flight)
                async with self._teller.draining(parts):
                    await self._finish(parts)
                parts.open = False
            for task in running:
                task.cancel()

    async def _finish(self, parts: Parts) -> None:
        """What was accepted is done and brought, as far as the limits allow."""
        await self.drain()
        await parts.keeper.settle(SETTLE_SECONDS)

    async def _build(self, stack: contextlib.AsyncExitStack) -> Parts:
        """Everything that needs no loading, and the pages that show how loading goes."""
        settings, metrics = self._first, Metrics()
        daemon = settings.daemon
        keypairs = preflight.our_hotkeys(daemon)
        token = preflight.api_token(daemon.api)
        journal = await stack.enter_async_context(
            await Journal.open(daemon.state_dir, daemon.journal)
        )
        executor = executor_for(settings, metrics, self._engine)
        breaker = Rollback(daemon.rollback, journal, metrics)
        planning = RollbackExecutor(executor, breaker, daemon.worker.job_seconds)
        queue = JobQueue(planning, journal, daemon.queue, metrics, shares=shares(daemon))
        breaker.on_generator(queue.forget_service_times)
        addresses: dict[str, str] = {}

        def identity(own: IdentitySettings) -> Identity:
            shared = Shared(
                metrics.of(own.name),
                metrics,
                Partition(journal, own.name),
                IdentityQueue(queue, own.name),
                planning,
                addresses,
            )
            return Identity(own, keypairs.get(own.name), shared, daemon.queue, self._substrate)

        keeper = Identities([identity(own) for own in daemon.identities], time.monotonic)
        parts = Parts(settings, metrics, journal, executor, queue, keeper, breaker, addresses)
        self._parts = parts
        await stack.enter_async_context(serve_control(daemon.state_dir, parts, self))
        self._doors = Doors(parts, token)
        await self._doors.open_metrics(stack)
        return parts

    def _background(self, parts: Parts) -> Iterator[Coroutine[None, None, None]]:
        readings = upkeep.Readings(parts)
        yield parts.queue.run()
        yield parts.executor.run()
        yield readings.run()
        yield upkeep.sweep(parts.journal)
        yield self._teller.serve(parts)
        yield self._teller.watchdog(parts)
        yield parts.keeper.run()

    def _reload_soon(self) -> None:
        """What SIGHUP does; a reload that fails is told and changes nothing."""
        if self._parts is None:
            return
        task = asyncio.create_task(self._try_reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _try_reload(self) -> None:
        try:
            await self.reload()
        except MinerError as error:
            log.error("reload_refused", reason=str(error))


def shares(settings: DaemonSettings) -> dict[str, float]:
    """Of the workers' time, by identity; the HTTP API's jobs are those of ``MAIN``."""
    found = {one.name: one.share for one in settings.identities if one.intakes}
    return {MAIN: 1.0, **found} if "http" in settings.intakes else found

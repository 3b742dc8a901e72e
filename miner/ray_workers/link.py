"""The daemon's end of the bridge: keeps it running, and spawns workers through it.

A bridge that ends, falls silent or loses its cluster takes all its workers with it and is started
again, with a wait that doubles; jobs are then the supervisors' and the queue's business, as with a
worker process that dies. What cannot be joined the first time is the operator's to mend. One event
loop, which nothing here blocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from miner.errors import ChannelError, ConfigError, StartupError
from miner.ray_workers.demand import Demand
from miner.ray_workers.remote import RemoteWorker
from miner.ray_workers.wire import (
    BORN,
    CONNECT,
    GONE,
    JOINED,
    LOST,
    NODES,
    REFUSED,
    SAID,
    SPAWN,
    UNFIT,
    Node,
    nodes_of,
    unframed,
)
from miner.settings import RaySettings, bridge_environment, remote_environment
from miner.workers.changes import Changes
from miner.workers.channel import AsyncChannel, Message
from miner.workers.life import Tools
from miner.workers.process import WorkerProcess
from miner.workers.supervisor import backoff_seconds

log = logging.getLogger(__name__)

BRIDGE = "miner.ray_workers.bridge"


class Link:
    """One bridge after the other.

    Attributes:
        failure: why the first one could not join, if it could not.

    Args:
        engine: ``module:Class`` of the workers' engine.
        settings: the cluster's.
        tools: the supervisors', for their clock, waits and limits.
        saw: called with the nodes alive, again and again while there is a cluster.
    """

    def __init__(
        self,
        engine: str,
        settings: RaySettings,
        tools: Tools,
        saw: Callable[[Sequence[Node]], None],
    ) -> None:
        self.failure: StartupError | None = None
        self._engine = engine
        self._settings = settings
        self._tools = tools
        self._saw = saw
        self._changes = Changes()
        self._channel: AsyncChannel | None = None  # while it is joined
        self._workers: dict[str, RemoteWorker] = {}
        self._keys = count(1)

    @property
    def joined(self) -> bool:
        """Whether there is a cluster now."""
        return self._channel is not None

    async def run(self) -> None:
        """Keeps a bridge running until cancelled, and then ends it.

        Raises:
            StartupError: the first one could not join or start a cluster.
        """
        ended_in_row, was_joined = 0, False
        while True:
            try:
                why, joined = await self._one_bridge()
            except StartupError as error:
                if not was_joined:
                    self.failure = error
                    raise
                why, joined = str(error), False
            was_joined = was_joined or joined
            ended_in_row = 1 if joined else ended_in_row + 1
            wait = backoff_seconds(self._tools.settings, ended_in_row)
            log.error("ray: the cluster is lost: %s; next try in %.1f s", why, wait)
            await self._tools.sleep(wait)

    async def spawn(self, name: str, wanted: Demand) -> RemoteWorker:
        """A worker on a node that has room for it; waits for that as long as it takes.

        Args:
            name: of the worker, for the log.
            wanted: what it asks for.

        Raises:
            StartupError: the node's versions are not ours.
            ConnectionError: the worker was gone before it said a word.
        """
        while True:
            await self._changes.until(lambda: self._channel is not None)
            assert self._channel is not None
            key = f"{name}.{next(self._keys)}"
            worker = self._workers[key] = RemoteWorker(key, self._channel, self._forget)
            try:
                await self._channel.send({"type": SPAWN, "worker": key, **self._wishes(wanted)})
                await worker.born
            except ChannelError:  # the bridge has gone, not the worker: it waits for the next one
                self._forget(key)
                continue
            except BaseException:
                worker.end()
                raise
            return worker

    def _forget(self, key: str) -> None:
        self._workers.pop(key, None)

    # One bridge

    async def _one_bridge(self) -> tuple[str, bool]:
        """From its start to its end; why it ended, and whether there was a cluster."""
        environment = bridge_environment(alone=not self._settings.address)
        try:
            process = await WorkerProcess.spawn("ray", self._engine, environment, BRIDGE)
        except OSError as error:
            return f"no process: {error}", False
        async with process:
            try:
                await self._join(process.channel)
                why = await self._serve(process.channel)
            except ChannelError as error:
                why = str(error)
            finally:
                joined, self._channel = self._channel is not None, None
                self._lose_all()
        return why or process.epitaph(), joined

    async def _join(self, channel: AsyncChannel) -> None:
        asked = self._settings.model_dump(mode="json")
        await channel.send({"type": CONNECT, **asked})
        seconds = self._settings.start_seconds
        try:
            async with asyncio.timeout(seconds):
                answer = await channel.receive()
        except TimeoutError as error:
            raise StartupError(
                f"no Ray cluster at {self._place} after {seconds:g} s (ray.start_seconds)"
            ) from error
        if answer is None:
            raise StartupError(f"no Ray cluster at {self._place}: it ended us")
        if answer.type == REFUSED:
            raise ConfigError(f"no Ray cluster at {self._place}: {answer.head['message']}")
        assert answer.type == JOINED, answer.type
        log.info("ray: joined the cluster at %s, %s", self._place, answer.head["versions"])
        self._channel = channel
        self._changes.announce()

    @property
    def _place(self) -> str:
        return self._settings.address or "this host"

    async def _serve(self, channel: AsyncChannel) -> str:
        """Why it is over; empty where only the end of the process can tell."""
        silence = self._settings.silence_seconds + self._tools.settings.hang_seconds
        while True:
            try:
                async with asyncio.timeout(silence):
                    message = await channel.receive()
            except TimeoutError:
                return f"the bridge said nothing for {silence:g} s"
            if message is None:
                return ""
            if message.type == LOST:
                return str(message.head["message"])
            if message.type == NODES:
                self._saw(nodes_of(message.head))
            elif worker := self._workers.get(str(message.head.get("worker"))):
                self._take(worker, message)

    def _take(self, worker: RemoteWorker, message: Message) -> None:
        head = message.head
        if message.type == SAID:
            for said in unframed(message.payload):
                worker.hear(said)
        elif message.type == BORN:
            worker.is_born(int(head["pid"]), str(head["node"]))
        elif message.type == UNFIT:
            worker.fail(StartupError(f"other versions than ours: {head['message']}"))
        elif message.type == GONE:
            worker.gone(str(head["message"]))
            self._forget(worker.key)

    def _lose_all(self) -> None:
        for worker in list(self._workers.values()):
            worker.fail(ChannelError("the bridge has gone"))
            worker.gone("the cluster was lost")
        self._workers.clear()

    def _wishes(self, wanted: Demand) -> Mapping[str, Any]:
        """A cluster of this host alone has our environment; another has that of its nodes."""
        return {
            "num_gpus": wanted.gpus,
            "num_cpus": wanted.cpus,
            "memory": wanted.memory_bytes,
            "environment": remote_environment() if self._settings.address else {},
        }

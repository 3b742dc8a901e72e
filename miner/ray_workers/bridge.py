"""The bridge: a process of the daemon's that speaks to Ray, and the only one that imports it here.

    python -m miner.ray_workers.bridge --fd 7 --parent 1234 --engine miner.workers.engine:...

Ray ends the process that uses it when a cluster is lost, takes its signals, and may block: none of
that is for the daemon. The bridge passes messages on between the daemon's channel and the actors,
tells which nodes there are, and ends with the channel; its actors, and a cluster that it has
started, end with it. It decides nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
from collections.abc import Mapping
from itertools import count
from typing import Any

from miner.errors import ChannelError
from miner.ray_workers.actor import WorkerActor
from miner.ray_workers.wire import (
    BORN,
    CONNECT,
    END,
    GONE,
    JOINED,
    LOST,
    NODES,
    REFUSED,
    SAID,
    SPAWN,
    TELL,
    UNFIT,
    mismatch,
    one_line,
    versions,
)
from miner.workers.channel import AsyncChannel
from miner.workers.worker import die_with

WATCH_SECONDS = 1.0
"""Between two looks at the nodes."""

SHUTDOWN_SECONDS = 1.0
"""For Ray to take leave; a cluster of ours is killed with this process, in whatever state."""

MAX_CALLS = 2
"""At an actor: the one that waits for news, and one that brings some."""

LINGER_SECONDS = 0.02
"""Before a call that only listens: what a worker has said is often followed by its next job."""


class Bridge:
    """Everything between the channel and Ray."""

    def __init__(self, channel: AsyncChannel, engine: str) -> None:
        self._channel = channel
        self._engine = engine
        self._remotes: dict[str, Remote] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serves until the channel ends or the cluster is lost."""
        first = await self._channel.receive()
        if first is None or first.type != CONNECT:
            return
        try:
            ray = connect(first.head)
        except Exception as error:  # the border: whatever Ray raises is told in words
            await self._channel.send({"type": REFUSED, "message": _refusal(error)})
            return
        self._ray = ray
        await self._channel.send({"type": JOINED, "versions": versions(ray.__version__)})
        watch = asyncio.create_task(self._watch(float(first.head["silence_seconds"])))
        listen = asyncio.create_task(self._listen())
        await asyncio.wait((watch, listen), return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            with contextlib.suppress(ChannelError):
                await self._channel.send({"type": LOST, "message": watch.result()})
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await asyncio.to_thread(ray.shutdown)

    async def _watch(self, silence_seconds: float) -> str:
        """Tells of the nodes again and again; returns why that is no longer possible."""
        while True:
            try:
                async with asyncio.timeout(silence_seconds):
                    nodes = await asyncio.to_thread(self._ray.nodes)
            except TimeoutError:
                return f"the cluster has not answered for {silence_seconds:g} s"
            except Exception as error:  # the border, as above
                return one_line(error)
            alive = [_node(one) for one in nodes if one["Alive"]]
            try:
                await self._channel.send({"type": NODES, "nodes": alive})
            except ChannelError as error:
                return str(error)
            await asyncio.sleep(WATCH_SECONDS)

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            key = str(message.head["worker"])
            if message.type == SPAWN:
                self._remotes[key] = remote = Remote(key, self._channel, self._ray)
                task = asyncio.create_task(self._keep(remote, message.head))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif message.type == TELL and key in self._remotes:
                self._remotes[key].tell(message.payload)
            elif message.type == END and key in self._remotes:
                self._remotes[key].end()

    async def _keep(self, remote: Remote, head: Mapping[str, Any]) -> None:
        try:
            await remote.run(self._engine, head)
        finally:
            self._remotes.pop(remote.key, None)


class Remote:
    """One actor, from its placing to its end."""

    def __init__(self, key: str, channel: AsyncChannel, ray: Any) -> None:
        self.key = key
        self._channel = channel
        self._ray = ray
        self._inward: list[bytes] = []
        self._ended = asyncio.Event()
        self._actor: Any = None
        self._exchange: Any = None  # once the actor serves
        self._calls: asyncio.Queue[Any] = asyncio.Queue()  # answers to be, in order
        self._open = 0
        self._numbers = count(1)

    def tell(self, framed: bytes) -> None:
        """Passes a message on to the actor, after those before it."""
        self._inward.append(framed)
        self._call()

    def end(self) -> None:
        """Has ``run`` return."""
        self._ended.set()

    async def run(self, engine: str, head: Mapping[str, Any]) -> None:
        """Places the actor and passes messages on until either side ends it."""
        work = asyncio.create_task(self._work(engine, head))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait((work, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._exchange = None
            for task in (work, ended):
                task.cancel()
            with contextlib.suppress(Exception):  # it may be dead, or the cluster
                self._ray.kill(self._actor)
        why = work.result() if work.done() and not work.cancelled() else "ended"
        with contextlib.suppress(ChannelError):
            await self._channel.send({"type": GONE, "worker": self.key, "message": why})

    async def _work(self, engine: str, head: Mapping[str, Any]) -> str:
        """Why it was over."""
        try:
            self._actor = actor = _place(self._ray, head)
            hello = await actor.hello.remote()
            if wrong := mismatch(versions(self._ray.__version__), hello["versions"]):
                await self._tell_daemon(UNFIT, message=f"node {hello['node']}: {wrong}")
                return wrong
            await actor.start.remote(engine)
            await self._tell_daemon(BORN, pid=hello["pid"], node=hello["node"])
            self._exchange = actor.exchange
            await self._pass_out()
            return "it ended"
        except Exception as error:  # the border: how an actor died is told in words
            return one_line(error)

    def _call(self) -> None:
        """Makes the next call, where there is something to tell or nobody listens."""
        wanted = self._inward or not self._open
        if self._exchange is not None and wanted and self._open < MAX_CALLS:
            told, self._inward = b"".join(self._inward), []
            self._open += 1
            try:
                answer = self._exchange.remote(next(self._numbers), told)
            except Exception as error:  # the border: it counts as the answer, and ends the worker
                answer = asyncio.get_running_loop().create_future()
                answer.set_exception(error)
            self._calls.put_nowait(answer)

    async def _pass_out(self) -> None:
        """Until the actor has ended. Answers may overtake each other too: the oldest is awaited."""
        loop = asyncio.get_running_loop()
        self._call()
        while (said := await (await self._calls.get())) is not None:
            self._open -= 1
            if said:
                await self._tell_daemon(SAID, said)
            if self._inward:
                self._call()
            elif not self._open:
                loop.call_later(LINGER_SECONDS, self._call)

    async def _tell_daemon(self, kind: str, payload: bytes = b"", **head: Any) -> None:
        await self._channel.send({"type": kind, "worker": self.key, **head}, payload)


def connect(head: Mapping[str, Any]) -> Any:
    """Joins the cluster, or starts one; the module ``ray``.

    The folder we happen to be in holds no modules for the actors.
    """
    os.chdir("/")
    import ray  # noqa: PLC0415 - it may not be installed: that is told the daemon

    options: dict[str, Any] = {
        "namespace": head["namespace"],
        "logging_level": "ERROR",
        "log_to_driver": True,
    }
    if head["address"]:
        ray.init(address=head["address"], **options)
        return ray
    wanted = math.ceil(head["workers"] * head["cpus_per_worker"])
    cores = max(os.cpu_count() or 1, wanted, 1)
    ray.init(address="local", include_dashboard=False, num_cpus=cores, **options)
    return ray


def _place(ray: Any, head: Mapping[str, Any]) -> Any:
    """A handle of a new actor; where it runs, and when, is Ray's business."""
    wishes = {name: head[name] for name in ("num_gpus", "num_cpus", "memory") if head[name]}
    if head["environment"]:
        wishes["runtime_env"] = {"env_vars": dict(head["environment"])}
    made = ray.remote(
        **{"num_cpus": 0, **wishes},
        max_restarts=0,
        max_task_retries=0,
        max_concurrency=MAX_CALLS,
        scheduling_strategy="SPREAD",
    )
    return made(WorkerActor).remote()


def _node(entry: Mapping[str, Any]) -> dict[str, Any]:
    resources = entry["Resources"]
    return {
        "id": entry["NodeID"],
        "address": entry["NodeManagerAddress"],
        "gpus": float(resources.get("GPU", 0)),
        "cpus": float(resources.get("CPU", 0)),
    }


def _refusal(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "Ray is not installed; run: pip install 'splat-miner[ray]'"
    return one_line(error)


def main() -> None:
    """Runs a bridge on the channel it was given."""
    parser = argparse.ArgumentParser(prog="miner.ray_workers.bridge")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", required=True)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    async def serve() -> None:
        channel = await AsyncChannel.open(socket.socket(fileno=arguments.fd))
        await Bridge(channel, arguments.engine).run()
        await channel.close()
        sys.stderr.flush()
        os._exit(0)  # a call to a lost cluster may still hold a thread

    asyncio.run(serve())


if __name__ == "__main__":
    main()

"""The faults of a soak: each is made, left for a while, lifted, and then watched until it is over.

They come one at a time, so that what is seen has one cause. Over means: the daemon says that it is
ready, its first generator is in use, and a request that began after the fault was lifted is done.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.soak.fault_proxy import CLEAN, CUT, DRIPPING, HALF_CLOSED, SLOW, FaultProxy, Mode
from tests.soak.record import Fault, Record
from tests.soak.subject import Subject

PRIMARY = "triposr"
RECOVERY_SECONDS = 300.0
"""Given up after so long; the verdict's own limits are shorter."""
POLL_SECONDS = 0.2
OUTAGE_SHARE = 3.0
"""Of the time that other faults get: snapshots are good for 15 s, see ``subject.py``."""


@dataclass
class Scene:
    """What faults are made in."""

    subject: Subject
    proxy: FaultProxy
    record: Record
    clock: Callable[[], float]


Maker = Callable[[Scene, float], AbstractAsyncContextManager[None]]
"""Makes a fault that stays for so many seconds; it is lifted when the block is left."""


@asynccontextmanager
async def worker_killed(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """SIGKILL of the worker, in the middle of whatever it does."""
    await _signal_workers(scene, signal.SIGKILL)
    yield


@asynccontextmanager
async def worker_stopped(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """SIGSTOP of the worker: it lives and does nothing, until it is taken for hung."""
    await _signal_workers(scene, signal.SIGSTOP)
    yield


@asynccontextmanager
async def daemon_killed(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """SIGKILL of the daemon, and its next start."""
    await scene.subject.kill()
    await scene.subject.start()
    yield


@asynccontextmanager
async def chain_out(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """The chain answers nobody; in longer runs until its last snapshot is too old to be used."""
    scene.subject.show_chain(error="the node is gone")
    try:
        await asyncio.sleep(OUTAGE_SHARE * seconds)
        yield
    finally:
        scene.subject.show_chain()


@asynccontextmanager
async def disk_full(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """Nothing more can be written beside what is there."""
    await asyncio.to_thread(scene.subject.fill_disk)
    try:
        await asyncio.sleep(seconds)
        yield
    finally:
        scene.subject.empty_disk()


@asynccontextmanager
async def triposr_fails(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """Each of its jobs fails, until the service has rolled back and a while after."""
    switch = scene.subject.broken(PRIMARY)
    switch.touch()
    try:
        until = scene.clock() + RECOVERY_SECONDS
        while scene.clock() < until:
            rollback = (await scene.subject.status()).get("rollback") or {}
            if rollback.get("state") == "open":
                break
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(seconds)
        yield
    finally:
        switch.unlink()


def spoiled(mode: Mode) -> Maker:
    """Connections through the proxy are spoiled in this way."""

    @asynccontextmanager
    async def maker(scene: Scene, seconds: float) -> AsyncIterator[None]:
        scene.proxy.mode = mode
        try:
            await asyncio.sleep(seconds)
            yield
        finally:
            scene.proxy.mode = CLEAN

    return maker


FAULTS: Mapping[str, Maker] = {
    "worker killed": worker_killed,
    "slow connections": spoiled(SLOW),
    "chain out": chain_out,
    "disk full": disk_full,
    "replies cut": spoiled(CUT),
    "TripoSR fails": triposr_fails,
    "requests dripping": spoiled(DRIPPING),
    "worker hangs": worker_stopped,
    "half-closed connections": spoiled(HALF_CLOSED),
    "daemon killed": daemon_killed,
}
"""By name, in the order in which they come."""


async def inflict(scene: Scene, name: str, seconds: float) -> None:
    """Makes one fault, lifts it, and writes down how long the daemon took to get over it."""
    fault = Fault(name, scene.clock())
    scene.record.faults.append(fault)
    async with FAULTS[name](scene, seconds):
        pass
    fault.lifted = scene.clock()
    if name == "daemon killed":  # its making includes the start: that is the recovery
        fault.lifted = fault.began
    await _recovered(scene, fault)


async def _recovered(scene: Scene, fault: Fault) -> None:
    until = scene.clock() + RECOVERY_SECONDS
    # A killed worker is noticed a moment later: ready at once would be the old state.
    await asyncio.sleep(2 * POLL_SECONDS)
    while scene.clock() < until:
        if fault.ready_seconds is None and await _as_usual(scene, fault):
            fault.ready_seconds = scene.clock() - fault.lifted
        served = [
            one.at + one.seconds
            for one in scene.record.requests
            if one.result == "done" and one.at >= fault.lifted
        ]
        if fault.ready_seconds is not None and served:
            fault.served_seconds = min(served) - fault.lifted
            return
        await asyncio.sleep(POLL_SECONDS)


async def _as_usual(scene: Scene, fault: Fault) -> bool:
    """Ready, with the first generator; after a hang only once another worker is there."""
    status = await scene.subject.status()
    if not status.get("ready") or status.get("generator") != PRIMARY:
        return False
    return not any(_is_stopped(worker.get("pid")) for worker in status["workers"])


def _is_stopped(pid: int | None) -> bool:
    with suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return text.rsplit(")", 1)[1].split()[0] == "T"
    return False


async def _signal_workers(scene: Scene, number: signal.Signals) -> None:
    for worker in (await scene.subject.status()).get("workers", []):
        if worker.get("pid") is not None:
            with suppress(ProcessLookupError):
                os.kill(worker["pid"], number)

"""One soak from start to end: a daemon, clients, faults in turn, samples; all into a ``Record``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from miner.admission.signature import new_hotkey
from miner.network.dendrite import Dendrite
from tests.soak.clients import Clients, monotonic_since
from tests.soak.fault_proxy import FaultProxy
from tests.soak.faults import FAULTS, Scene, inflict
from tests.soak.record import Record, Sample
from tests.soak.subject import Subject, resident_bytes

SAMPLE_SECONDS = 0.5
SETTLE_SECONDS = 240.0
VALIDATORS = 3
LOADED = ("ready", "busy", "draining")
"""States of a worker whose models are loaded."""
CALM_SHARE = 0.15
"""Of the time, before the first fault: what all the rest is compared with."""


async def soak(
    folder: Path,
    seconds: float,
    rate: float,
    faults: Sequence[str] = tuple(FAULTS),
    say: Callable[[str], None] = print,
) -> Record:
    """Runs it.

    Args:
        folder: exists and is empty; settings, log and journal lie there.
        seconds: how long requests are begun; longer where a fault is not overcome by then.
        rate: requests begun a second.
        faults: names from ``FAULTS``, in turn; again from the first where time is left.
        say: told what happens.
    """
    signers = [new_hotkey() for _ in range(VALIDATORS)]
    record = Record(rate)
    subject = Subject(folder, signers)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(subject.alive())
        say(f"the daemon is ready; its log is {folder / 'daemon.log'}")
        proxy = await stack.enter_async_context(FaultProxy(subject.address).serving())
        dendrites = [await stack.enter_async_context(Dendrite(one)) for one in signers]
        clock = monotonic_since(time.monotonic())
        clients = Clients(
            dendrites,
            subject.hotkey,
            lambda: "{}:{}".format(*subject.address()),
            lambda: f"127.0.0.1:{proxy.port}",
            record,
            clock,
        )
        scene = Scene(subject, proxy, record, clock)
        watching = asyncio.create_task(_watch(scene))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(clients.ask(SETTLE_SECONDS))
                await _direct(scene, seconds, faults, say)
                clients.end()
        except* RuntimeError as failures:  # the daemon did not come back: the verdict says so
            record.broke = str(failures.exceptions[0])
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        record.settled = clock()
        await _conclude(subject, record)
    return record


async def _direct(
    scene: Scene, seconds: float, faults: Sequence[str], say: Callable[[str], None]
) -> None:
    """Calm first, then fault after fault at even distances, and calm at the end."""
    clock, number = scene.clock, 0
    calm = seconds * CALM_SHARE
    await asyncio.sleep(calm)
    gap = max(2.0, min(120.0, (seconds - 2 * calm) / max(1, len(faults))))
    while faults and (number < len(faults) or clock() + gap < seconds - calm):
        name = faults[number % len(faults)]
        say(f"{clock():6.0f} s  {name}")
        began = clock()
        await inflict(scene, name, gap / 3)
        fault = scene.record.faults[-1]
        say(f"{clock():6.0f} s  over it after {_seconds(fault.ready_seconds)}")
        await asyncio.sleep(max(1.0, began + gap - clock()))
        number += 1
    await asyncio.sleep(max(calm / 2, seconds - clock()))


async def _watch(scene: Scene) -> None:
    """A sample every little while, until it is cancelled."""
    while True:
        status = await scene.subject.status()
        worker = (status.get("workers") or [{}])[0]
        queue, process = status.get("queue") or {}, scene.subject.process
        scene.record.samples.append(
            Sample(
                at=scene.clock(),
                life=scene.subject.lives,
                ready=bool(status.get("ready")),
                generator=status.get("generator"),
                depth=queue.get("depth"),
                in_flight=queue.get("in_flight"),
                daemon_bytes=resident_bytes(process.pid if process else None),
                worker_bytes=resident_bytes(worker.get("pid")),
                worker_pid=worker.get("pid"),
                worker_ready=worker.get("state") in LOADED,
            )
        )
        await asyncio.sleep(SAMPLE_SECONDS)


async def _conclude(subject: Subject, record: Record) -> None:
    if subject.running:
        record.exit_status = await subject.stop()
    record.journal = subject.outcomes()
    record.unfinished = sum(
        count for state, count in record.journal.items() if state not in ("done", "failed")
    )
    record.tracebacks = subject.log().count("Traceback (most recent call last)")


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"

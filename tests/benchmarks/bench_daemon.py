"""The whole daemon: how soon it is ready, what it weighs idle, how fast requests go through it.

    python -m tests.benchmarks.bench_daemon

The first part runs the embedded preset. The second has workers that answer at once, so that what is
measured is everything else: signatures, admission, the queue, the journal with a synced commit for
every promise and every result, the way to the worker's process and back. Every request is a job of
its own. The validators' clients share the two cores with the daemon.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from miner.admission.signature import new_hotkey
from miner.commands.demo_miner import running, write_settings
from miner.network.load_report import latencies
from tests.app.running import Caller, calling, daemon

STARTS = 3
IDLE_SECONDS = 2.0
"""After which a daemon that is ready counts as idle."""
REQUESTS = 3000
CONCURRENCIES = (1, 32)
READY_TARGET_SECONDS, IDLE_TARGET_MB = 12.0, 120.0


def main() -> None:
    """Print the figures."""
    starts = [start() for _ in range(STARTS)]
    ready = statistics.median(seconds for seconds, _, _ in starts)
    parent = statistics.median(megabytes for _, megabytes, _ in starts)
    print(f"preset mini, median of {STARTS} starts")
    print(f"start to ready       {ready:7.2f} s   {verdict(ready, READY_TARGET_SECONDS)}")
    print(f"idle daemon          {parent:7.1f} MB  {verdict(parent, IDLE_TARGET_MB)}")
    print(f"torch in the daemon  {'yes' if any(torch for *_, torch in starts) else 'no':>7}")
    print(f"\nworkers that answer at once, {REQUESTS:,} signed requests, a job each")
    print(f"{'at once':>8}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}")
    asyncio.run(throughput())


def start() -> tuple[float, float, bool]:
    """One daemon: seconds to ready, megabytes of its own process, whether torch is in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings, hotkey = write_settings(folder, [(new_hotkey(), 5000.0)])
        with running(settings, hotkey, folder / "log") as miner:
            time.sleep(IDLE_SECONDS)
            process = Path(f"/proc/{miner.process.pid}")
            resident = (process / "status").read_text().split("VmRSS:")[1].split()[0]
            torch = "libtorch" in (process / "maps").read_text()
            return miner.seconds, int(resident) * 1024 / 1e6, torch


async def throughput() -> None:
    """Requests through the whole daemon, one row for each concurrency."""
    for at_once in CONCURRENCIES:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                daemon(Path(folder), "Quick", queue={"max_depth": 1000}) as miner,
                calling(miner) as caller,
            ):
                await storm(caller, REQUESTS // 10, at_once, "warm")
                began = time.perf_counter()
                seconds = await storm(caller, REQUESTS, at_once, "then")
                rate = REQUESTS / (time.perf_counter() - began)
        of = latencies(seconds)
        print(f"{at_once:>8}{rate:>9.0f}{of['p50'] * 1e3:>9.2f}{of['p99'] * 1e3:>9.2f}")


async def storm(caller: Caller, count: int, at_once: int, name: str) -> list[float]:
    """The latency of each of ``count`` requests, so many under way at once."""
    numbers = iter(range(count))
    seconds: list[float] = []

    async def lane() -> None:
        for number in numbers:
            began = time.perf_counter()
            reply = await caller.generate(f"{name} {number}")
            assert reply.dendrite.status_code == 200, reply.dendrite.status_message
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(lane() for _ in range(at_once)))
    return seconds


def verdict(value: float, target: float) -> str:
    """Whether a figure stays under its target."""
    return f"target {target:g}: {'met' if value <= target else 'MISSED'}"


if __name__ == "__main__":
    main()

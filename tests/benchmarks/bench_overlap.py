"""Jobs an hour of one worker whose card takes as long as the surface, beside an older commit.

    python -m tests.benchmarks.bench_overlap [--against 1496f9a] [--rounds 3] [--jobs 24]

The stages of the card are played by a sleep, once measured to be as long as the surface of a ball
takes here alone. The surface, the validity gate, the encoding and the worker's process are real.
The older code is taken out of the repository with ``git archive``; turns of the two alternate, and
so do this code's own with ``worker.overlap`` off. The processor's cores are those of this machine.
A second part asks whether a worker without a card, with the embedded preset, loses by it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from miner.job import Job
from miner.settings import WorkerSettings, let_idle_threads_sleep, load_settings
from miner.workers.local_executor import ENGINE, LocalExecutor
from tests.fakes.workers import Metrics, Time, job

SECONDS = "BENCH_OVERLAP_SECONDS"
"""As in ``card_of_sleep.py``, which imports the models' libraries."""

OLD, ON, OFF = "older code", "overlap on", "overlap off"
CARD = "tests.benchmarks.card_of_sleep:SleepingCard"
ROOT = Path(__file__).parent.parent.parent
FILES = ("tests/benchmarks/bench_overlap.py", "tests/benchmarks/card_of_sleep.py")
WAITING = 4
"""Jobs handed over at a time: more than a worker has in hand."""
TARGET = 1.6


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.bench_overlap")
    parser.add_argument("--against", default="1496f9a")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--turn", nargs=2, metavar=("ENGINE", "OVERLAP"), help="one turn, as JSON")
    options = parser.parse_args()
    if options.turn:
        engine, overlap = options.turn
        print(json.dumps(asyncio.run(turn(engine, overlap == ON, options.jobs))))
        return
    let_idle_threads_sleep()
    os.environ[SECONDS] = str(surface_seconds())
    print(f"cores {os.cpu_count()}, load before {os.getloadavg()[0]:.2f}")
    print(f"surface alone, and the card's sleep: {float(os.environ[SECONDS]):.2f} s a job\n")
    with tempfile.TemporaryDirectory() as name:
        old = older(options.against, Path(name))
        sides = {OLD: old, OFF: ROOT, ON: ROOT}
        found = compared(sides, CARD, options.rounds, options.jobs)
        print(f"\n{ON} / {OLD} ({options.against}): {ratio(found, ON, OLD)}, target {TARGET:g}")
        print(f"\nthe embedded preset on the CPU, {options.jobs} jobs a turn")
        found = compared({OFF: ROOT, ON: ROOT}, ENGINE, options.rounds, options.jobs)
        print(f"\n{ON} / {OFF}: {ratio(found, ON, OFF)}")


def compared(sides: dict[str, Path], engine: str, rounds: int, jobs: int) -> dict[str, list[float]]:
    """Jobs an hour of each turn, by side, with a line for each."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    print(f"{'':<14}{'jobs/h':>9}{'p50 s':>8}{'surface s':>11}{'encode s':>10}")
    for _ in range(rounds):
        for side, folder in sides.items():
            made = asked(folder, engine, side, jobs)
            found[side].append(made["rate"])
            print(
                f"{side:<14}{made['rate']:>9.0f}{made['latency']:>8.2f}"
                f"{made['surface']:>11.2f}{made['encode']:>10.2f}",
                flush=True,
            )
    return found


def ratio(found: dict[str, list[float]], one: str, other: str) -> str:
    """The median of the rounds' ratios, and the rounds'."""
    ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({', '.join(f'{each:.2f}' for each in ratios)})"


def asked(folder: Path, engine: str, side: str, jobs: int) -> dict[str, float]:
    """One turn, in a process that imports the code in the folder."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_overlap"]
    command += ["--jobs", str(jobs), "--turn", engine, side]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    made: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return made


async def turn(engine: str, overlap: bool, jobs: int) -> dict[str, float]:
    """Jobs through one worker, a few always waiting; the first of them are not counted."""
    models = with_overlap(load_settings("mini", {"device": "cpu"}, environ={}), overlap)
    latencies, timings = [], []
    async with LocalExecutor(models, WorkerSettings(), Metrics(Time()), engine=engine) as executor:

        async def lane(prompts: Any) -> None:
            for number in prompts:
                began = time.perf_counter()
                asset = await executor.submit(as_spz(job("a red cube", number)))
                latencies.append(time.perf_counter() - began)
                timings.append(asset.timings)

        await asyncio.gather(*(lane([number]) for number in range(WAITING)))
        latencies.clear()
        timings.clear()
        began = time.perf_counter()
        numbers = iter(range(jobs))
        await asyncio.gather(*(lane(numbers) for _ in range(WAITING)))
        seconds = time.perf_counter() - began
    return {
        "rate": 3600 * jobs / seconds,
        "latency": statistics.median(latencies),
        "surface": statistics.median(one["surface"] for one in timings),
        "encode": statistics.median(one["encode"] for one in timings),
    }


def as_spz(one: Job) -> Job:
    """In the subnet's format."""
    return replace(one, spec=replace(one.spec, format="spz"))


def with_overlap(settings: Any, overlap: bool) -> Any:
    """The settings with the overlap on or off, where they know of one."""
    worker = settings.daemon.worker
    if "overlap" not in type(worker).model_fields:
        return settings
    worker = worker.model_copy(update={"overlap": "on" if overlap else "off"})
    daemon = settings.daemon.model_copy(update={"worker": worker})
    return settings.model_copy(update={"daemon": daemon})


def surface_seconds() -> float:
    """What the surface takes by itself, the median of five."""
    code = (
        "import time, statistics\n"
        "from tests.benchmarks.card_of_sleep import Ball\n"
        "from miner.triposr.surface import field_to_gaussians\n"
        "times = []\n"
        "for seed in range(6):\n"
        "    began = time.perf_counter()\n"
        "    field_to_gaussians(Ball(), seed=seed)\n"
        "    times.append(time.perf_counter() - began)\n"
        "print(statistics.median(times[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.splitlines()[-1])


def older(commit: str, folder: Path) -> Path:
    """The code at a commit, with this benchmark's files laid over it."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    for file in FILES:
        shutil.copy(ROOT / file, folder / file)
    return folder


if __name__ == "__main__":
    main()

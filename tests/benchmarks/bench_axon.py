"""Our axon beside the official one of bittensor 10.5.0: requests a second and latencies.

    python -m tests.benchmarks.bench_axon

Both check signatures and nonces and answer with the same stub handler; each is a process of its own
on one core, the load generator has another. All requests are freshly signed. They take turns in
several rounds, so that a busy moment hurts both, and each figure is the median of its rounds. The
processor's time for a request is the server's own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from miner.network.load_report import latencies
from tests.benchmarks.axon_load import WARM_UP_SECONDS
from tests.conformance.environments import Unavailable
from tests.conformance.our_miner import DENIED, MINER, hotkey_of
from tests.conformance.peers import OfficialServer

PEER = "10.5.0"
ROUNDS = 3
SECONDS = 2.0


@dataclass(frozen=True)
class Load:
    """What is asked for, and what is to be reached beside the official axon (None: just told)."""

    title: str
    prompt: str
    concurrency: int
    times_throughput: float | None = None
    times_p99: float | None = None


LOADS = (
    Load("small", "a cube", 1),
    Load("small", "a cube", 32, times_throughput=20.0, times_p99=15.0),
    Load("1.5 MB", "bytes 1500000", 1),
    Load("1.5 MB", "bytes 1500000", 32, times_throughput=8.0),
)


@dataclass
class Figures:
    """What was measured of one server under one load, round by round."""

    per_second: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, seconds: list[float], cpu_seconds: float) -> None:
        """One more round: its latencies and what the server's processor spent in it."""
        of = latencies(seconds)
        self.per_second.append(len(seconds) / SECONDS)
        self.p50.append(of["p50"])
        self.p99.append(of["p99"])
        whole = 1 + WARM_UP_SECONDS / SECONDS  # requests of the warm-up are not in ``seconds``
        self.cpu.append(cpu_seconds / (len(seconds) * whole))

    def median(self) -> Row:
        """The middle of the rounds."""
        return Row(*map(statistics.median, (self.per_second, self.p50, self.p99, self.cpu)))


class Row(NamedTuple):
    """Requests a second, latencies in seconds, the server's processor seconds for a request."""

    per_second: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True)
class Server:
    """A server under test."""

    who: str
    pid: int
    port: int
    hotkey: str

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the table."""
    print(f"axon, one core for the server, {ROUNDS} rounds of {SECONDS:g} s each")
    titles = f"{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}"
    print(f"{'results':<9}{'at once':>8}  {'who':<18}{titles}")
    with ExitStack() as stack:
        servers = [stack.enter_context(ours())]
        try:
            servers.insert(0, stack.enter_context(official()))
        except Unavailable as error:
            print(f"without bittensor {PEER}: {error}")
        for load in LOADS:
            show(load, measure(load, servers))


def show(load: Load, rows: dict[str, Row]) -> None:
    """One line for each server, then how they compare."""
    for who, row in rows.items():
        print(
            f"{load.title:<9}{load.concurrency:>8}  {who:<18}{row.per_second:>9.1f}"
            f"{row.p50 * 1e3:>9.2f}{row.p99 * 1e3:>9.2f}{row.cpu * 1e3:>9.3f}"
        )
    if len(rows) > 1:
        theirs, mine = rows.values()
        more, quicker = mine.per_second / theirs.per_second, theirs.p99 / mine.p99
        print(
            f"{'':17}  {'ratio':<18}{more:>8.1f}x{theirs.p50 / mine.p50:>8.1f}x{quicker:>8.1f}x"
            f"{theirs.cpu / mine.cpu:>8.1f}x"
            f"{verdict('throughput', more, load.times_throughput)}"
            f"{verdict('p99', quicker, load.times_p99)}",
            flush=True,
        )


def verdict(what: str, reached: float, target: float | None) -> str:
    """Whether a ratio meets its target, where there is one."""
    if target is None:
        return ""
    return f"  {what} {target:g}x: {'met' if reached >= target else 'MISSED'}"


def measure(load: Load, servers: list[Server]) -> dict[str, Row]:
    """What each server does under a load, in rounds that alternate."""
    figures = {server.who: Figures() for server in servers}
    for _ in range(ROUNDS):
        for server in servers:
            before = server.cpu_seconds()
            seconds = run(load, server)
            figures[server.who].add(seconds, server.cpu_seconds() - before)
    return {who: of.median() for who, of in figures.items()}


def run(load: Load, server: Server) -> list[float]:
    """Latencies of one round."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "latencies.json"
        arguments = (server.port, server.hotkey, load.concurrency, SECONDS, load.prompt, file)
        command = [sys.executable, "-m", "tests.benchmarks.axon_load", *map(str, arguments)]
        done = subprocess.run(
            command,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {cores()[-1]}),
        )
        if done.returncode != 0:
            raise SystemExit(f"{server.who}: {done.stderr}")
        measured: list[float] = json.loads(file.read_text())
        return measured


def cores() -> list[int]:
    """The processors we may use; the first is the server's, the last the load generator's."""
    return sorted(os.sched_getaffinity(0))


@contextmanager
def ours() -> Iterator[Server]:
    """Our axon, listening on the first core."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.axon_ours"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        os.sched_setaffinity(process.pid, {cores()[0]})
        yield Server("ours", process.pid, told["port"], told["hotkey"])
        process.stdin.close()


@contextmanager
def official() -> Iterator[Server]:
    """The official axon, listening on the first core, with all its threads."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "official.log"
        with OfficialServer(PEER, log, MINER, hotkey_of(DENIED)) as server:
            for task in Path(f"/proc/{server.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {cores()[0]})
            yield Server(f"bittensor {PEER}", server.pid, server.port, server.hotkey)


if __name__ == "__main__":
    main()

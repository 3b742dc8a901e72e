"""Our codecs beside gsply's and gsplat's exporter: time and bytes for 500,000 Gaussians.

    python -m tests.benchmarks.bench_codecs

Everyone gets the same splat, one core, and memory or a file in memory to write to; one warm-up,
then the medians of several rounds in which all take turns, so that a busy moment hurts all alike.
Given are the time on the clock and the processor's own; targets are held against the latter, which
other programs on the machine do not lengthen. The splat is a drawn surface: flat Gaussians on a
bumpy ball, coloured smoothly.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import gsplat.exporter
import gsply
import numpy as np
import torch

from miner import encoder
from miner.geometry.gaussians import Gaussians, from_activated

GAUSSIANS = 500_000
ROUNDS = 5
TARGETS_MS = {"write PLY": 60, "write SPZ subnet": 250}


class Entry(NamedTuple):
    """One writer or reader under test; ``run`` gives the number of bytes of the file."""

    task: str
    who: str
    run: Callable[[], int]


def main() -> None:
    """Print the table."""
    splat = surface(GAUSSIANS)
    with one_core(), tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        entries = [*ours(splat), *gsplys(splat, Path(folder)), *gsplats(splat)]
        sizes = [entry.run() for entry in entries]
        times = measure(entries)
    print(f"codecs, {GAUSSIANS:,} Gaussians of degree 0, one core, median of {ROUNDS}")
    print(f"{'task':<18}{'who':<8}{'clock ms':>10}{'CPU ms':>8}{'bytes':>13}{'B each':>8}  target")
    rows = zip(entries, sizes, times, strict=True)
    for entry, size, (clock, cpu) in sorted(rows, key=lambda row: row[0].task):
        target = TARGETS_MS.get(entry.task) if entry.who == "ours" else None
        verdict = f"  {target} ms: {'met' if cpu <= target else 'MISSED'}" if target else ""
        print(
            f"{entry.task:<18}{entry.who:<8}{clock:10.1f}{cpu:8.1f}"
            f"{size:13,}{size / GAUSSIANS:8.2f}{verdict}"
        )


def measure(entries: list[Entry]) -> list[tuple[float, float]]:
    """Median milliseconds of each, by the clock and of the processor."""
    times: list[list[tuple[float, float]]] = [[] for _ in entries]
    for _ in range(ROUNDS):
        for entry, taken in zip(entries, times, strict=True):
            clock, cpu = time.perf_counter(), time.process_time()
            entry.run()
            taken.append((time.perf_counter() - clock, time.process_time() - cpu))
    return [
        (statistics.median(t[0] for t in taken) * 1e3, statistics.median(t[1] for t in taken) * 1e3)
        for taken in times
    ]


def surface(n: int) -> Gaussians:
    """Flat Gaussians on a bumpy ball, in no particular order, as samplers give them."""
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    bumps = 1 + 0.1 * np.sin(9 * normals).sum(axis=1, keepdims=True)
    means = normals * bumps
    means *= 1.5 / np.ptp(means, axis=0).max()
    scale = 0.5 * np.sqrt(5 / n)
    scales = np.tile([scale, scale, scale / 10], (n, 1)) * rng.uniform(0.9, 1.1, (n, 3))
    quats = np.stack(  # z to the normal
        [1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(n)], axis=1
    )
    colors = 0.5 + 0.4 * np.sin(5 * normals) + rng.normal(0, 0.02, (n, 3))
    f32 = np.float32
    return from_activated(
        means.astype(f32),
        scales.astype(f32),
        quats.astype(f32),
        np.full(n, 0.95, f32),
        np.clip(colors, 0, 1).astype(f32),
    )


def ours(splat: Gaussians) -> list[Entry]:
    """Every format that we write, and reading it back."""
    entries = []
    for name, format, variant in (
        ("PLY", "ply", "subnet"),
        *((f"SPZ {variant}", "spz", variant) for variant in encoder.SPZ_VARIANTS),
    ):
        entries += our_pair(splat, name, format, variant)
    return entries


def our_pair(splat: Gaussians, name: str, format: str, variant: str) -> list[Entry]:
    """Our writer of a format and our reader of what it wrote."""
    data = encoder.encode(splat, format, spz_variant=variant)

    def write() -> int:
        return len(encoder.encode(splat, format, spz_variant=variant))

    def read() -> int:
        encoder.decode(data)
        return len(data)

    return [Entry(f"write {name}", "ours", write), Entry(f"read {name}", "ours", read)]


def gsplys(splat: Gaussians, folder: Path) -> list[Entry]:
    """What gsply has in common with us: PLY and SPZ version 3; its version 4 for comparison."""
    unit = splat.quats / np.linalg.norm(splat.quats, axis=1, keepdims=True)
    arrays = (splat.means, splat.log_scales, unit, splat.opacity_logits, splat.sh_dc)
    cloud = gsply.GSData.from_arrays(*arrays)
    ply, v3, v4 = (folder / name for name in ("a.ply", "a.v3.spz", "a.v4.spz"))

    def file_of(path: Path, write: Callable[[], object]) -> Callable[[], int]:
        def run() -> int:
            write()
            return path.stat().st_size

        return run

    who = "gsply"
    return [
        Entry("write PLY", who, file_of(ply, lambda: gsply.plywrite(ply, *arrays))),
        Entry("read PLY", who, file_of(ply, lambda: gsply.plyread(ply))),
        Entry("write SPZ v3", who, file_of(v3, lambda: gsply.write_spz(v3, cloud, version=3))),
        Entry("read SPZ v3", who, file_of(v3, lambda: gsply.read_spz(v3))),
        Entry("write SPZ v4", who, file_of(v4, lambda: gsply.write_spz(v4, cloud, version=4))),
    ]


def gsplats(splat: Gaussians) -> list[Entry]:
    """gsplat's exporter, which writes PLY and no SPZ."""
    means, scales, quats, opacities, dc = (
        torch.from_numpy(array)
        for array in (
            splat.means,
            splat.log_scales,
            splat.quats,
            splat.opacity_logits,
            splat.sh_dc[:, None],
        )
    )
    rest = torch.zeros(len(splat), 0, 3)

    def write() -> int:
        return len(gsplat.exporter.export_splats(means, scales, quats, opacities, dc, rest, "ply"))

    return [Entry("write PLY", "gsplat", write)]


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Hold this process, with all threads that it starts meanwhile, to a single core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, allowed)


def memory_folder() -> str | None:
    """A folder in memory where the system has one, so that the disk is not what is measured."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    main()

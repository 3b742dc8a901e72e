"""Memory and time of the matting network on the CPU, over ten pictures, by onnxruntime's settings.

    python -m tests.benchmarks.bench_matting

Each row is a process of its own over a network of IS-Net's shape and size with random weights
(``isnet_shaped``): resident memory in MB after loading and after each picture, then the median
seconds of a picture without the first, by the clock and of the processors. Only the first output is
asked for, except in the row that says otherwise.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import psutil

from tests.benchmarks.isnet_shaped import SIDE_PX, write_isnet_shaped

PICTURES = 10
VARIANTS = {
    "default": (True, True),
    "no pattern": (True, False),
    "no arena": (False, True),
    "neither": (False, False),
    "shrunk": (True, True),
    "all outputs": (True, True),
}
"""Whether there is an arena, and whether there is a memory pattern."""


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table, or with a variant and a file its row."""
    if arguments:
        row(arguments[0], Path(arguments[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "isnet.onnx")
        parameters = write_isnet_shaped(file)
        print(f"matting on the CPU, {parameters / 1e6:.1f} M parameters, {SIDE_PX} px, {VERSION}")
        pictures = "".join(f"{number:>6}" for number in range(1, PICTURES + 1))
        print(f"{'':<12}{'loaded':>8}{pictures}{'seconds':>9}{'CPU s':>7}", flush=True)
        for variant in VARIANTS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_matting", variant, str(file)]
            subprocess.run(command, check=True)


VERSION = f"onnxruntime {onnxruntime.__version__}"


def row(variant: str, file: Path) -> None:
    """Load the network as the variant says and have it look at the pictures."""
    options = onnxruntime.SessionOptions()
    # A thread that spins while it waits would count as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena, options.enable_mem_pattern = VARIANTS[variant]
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    run_options = onnxruntime.RunOptions()
    if variant == "shrunk":
        run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    wanted = None if variant == "all outputs" else [session.get_outputs()[0].name]
    print(f"{variant:<12}{resident_mb():>8}", end="")
    rng, took, worked = np.random.default_rng(0), [], []
    for _ in range(PICTURES):
        picture = rng.random((1, 3, SIDE_PX, SIDE_PX), np.float32)
        began, before = time.perf_counter(), time.process_time()
        session.run(wanted, {"picture": picture}, run_options)
        took.append(time.perf_counter() - began)
        worked.append(time.process_time() - before)
        print(f"{resident_mb():>6}", end="", flush=True)
    print(f"{statistics.median(took[1:]):>9.2f}{statistics.median(worked[1:]):>7.2f}", flush=True)


def resident_mb() -> int:
    """Of this process now, in millions of bytes."""
    return round(psutil.Process().memory_info().rss / 1e6)


if __name__ == "__main__":
    main(sys.argv[1:])

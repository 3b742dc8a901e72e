"""Runs every benchmark of this folder in turn: ``python -m tests.benchmarks``.

Each is a module ``bench_*.py`` with a ``main()``, in a process of its own so that none warms or
crowds the next.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from miner.settings import let_idle_threads_sleep


def main() -> int:
    """Runs them all and returns the first status that is not zero."""
    let_idle_threads_sleep()  # as the command line does; the benchmarks inherit it
    worst = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"\n== {path.stem} ==", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{path.stem}"]
        status = subprocess.run(command, check=False).returncode
        worst = worst or status
    return worst


if __name__ == "__main__":
    sys.exit(main())

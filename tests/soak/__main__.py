"""``make soak``: validators, faults and a daemon on the embedded preset; a verdict and a page.

    python -m tests.soak --minutes 5 --rate 0.5 -o out/soak

Needs no GPU, no weights and no network. As root the state lies on a small disk of its own, which
is really filled; otherwise the files of the daemon are kept from growing, which looks the same to
it. The exit status is 0 where everything held, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from miner.files import make_folder, write_atomic
from miner.settings import let_idle_threads_sleep
from tests.soak.faults import FAULTS
from tests.soak.page import page
from tests.soak.record import Record
from tests.soak.run import soak
from tests.soak.verdict import Check, calm_latencies, judge


def main() -> int:
    """Runs one soak and tells of it."""
    let_idle_threads_sleep()
    arguments = _parser().parse_args()
    output = make_folder(arguments.output)
    print(f"a soak of {arguments.minutes:g} min, {arguments.rate:g} requests a second", flush=True)
    with tempfile.TemporaryDirectory(prefix="miner-soak-") as name:
        folder = Path(name)
        try:
            record = asyncio.run(
                soak(
                    folder,
                    arguments.minutes * 60,
                    arguments.rate,
                    arguments.faults or tuple(FAULTS),
                    lambda text: print(text, flush=True),
                )
            )
        finally:
            _keep_log(folder / "daemon.log", output / "daemon.log")
    checks = judge(record, arguments.recovery_seconds)
    write_atomic(output / "soak.html", page(record, checks).encode())
    _tell(record, checks)
    print(f"see {output / 'soak.html'}; the daemon's log is {output / 'daemon.log'}")
    return 0 if all(check.held for check in checks) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long; 720 is a night")
    parser.add_argument("--rate", type=float, default=0.5, help="requests begun a second")
    parser.add_argument(
        "--recovery-seconds", type=float, default=60.0, help="allowed after each fault"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/soak"))
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], help="all, if none is named")
    return parser


def _keep_log(log: Path, where: Path) -> None:
    if log.exists():
        where.write_bytes(log.read_bytes())


def _tell(record: Record, checks: list[Check]) -> None:
    for check in checks:
        print(f"{'held  ' if check.held else 'FAILED'}  {check.name}: {check.seen}")
    counts = ", ".join(f"{count} {result}" for result, count in record.counts().items())
    took = ", ".join(f"{name} {value:.2f} s" for name, value in calm_latencies(record).items())
    print(f"{len(record.requests)} requests: {counts}\nbetween faults: {took}")


if __name__ == "__main__":
    sys.exit(main())

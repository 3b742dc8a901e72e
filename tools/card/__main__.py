"""Checks and measures a card: ``python -m tools.card [--tiny] [--only A,B] [--seconds 570]``.

The parts run in the order of their worth, each caught and timed by itself. ``card.json`` is written
after each of them; a table comes last. Exit status 1 says that a part failed. How to read it:
``docs/card.md``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS = 570.0
"""Nine and a half minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    options = _options(arguments)
    # Before torch makes its allocator: both names are in use.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    from miner.errors import MinerError  # noqa: PLC0415 - torch follows

    try:
        if options.page is not None:
            from tools.card.page import add, write  # noqa: PLC0415 - as above

            add(options.page)
            write()
            return 0
        return _check(options, sys.argv[1:] if arguments is None else arguments)
    except MinerError as error:
        print(f"card: {error}", file=sys.stderr)
        return 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.card", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small sizes on the CPU")
    parser.add_argument("--only", default="", metavar="A,B", help="only these parts")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("-o", "--output", type=Path, default=Path("card.json"))
    parser.add_argument(
        "--page",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="take these card.json into docs/cards and make the tables of docs/card.md anew",
    )
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    from miner.errors import ConfigError  # noqa: PLC0415 - as above
    from miner.gpu.allocator import keep_freed_memory  # noqa: PLC0415 - as above
    from miner.settings import let_idle_threads_sleep  # noqa: PLC0415 - as above
    from tools.card.bench import Bench  # noqa: PLC0415 - as above
    from tools.card.order import PARTS  # noqa: PLC0415 - as above
    from tools.card.outcome import Report  # noqa: PLC0415 - as above
    from tools.card.runner import head, run_parts  # noqa: PLC0415 - as above

    let_idle_threads_sleep()
    keep_freed_memory()
    wanted = [name for name in options.only.split(",") if name]
    unknown = [name for name in wanted if name not in {part.name for part in PARTS}]
    if unknown:
        known = ", ".join(part.name for part in PARTS)
        raise ConfigError(f"--only: no part {unknown[0]!r}; there are {known}")
    bench = Bench.here(options.tiny, options.seconds)
    command = " ".join(["python -m tools.card", *arguments])
    report = Report(options.output, head(bench, command))
    report.write()  # before anything is measured: whether there is a place for it
    try:
        whole = run_parts([p for p in PARTS if not wanted or p.name in wanted], bench, report)
    finally:
        bench.close()
    print(f"\n{report.head['card']}, {report.head['command']}")
    print("\n".join(report.table()))
    print(f"written: {options.output}" + ("" if whole else " (interrupted)"))
    return 1 if report.failed or not whole else 0


if __name__ == "__main__":
    sys.exit(main())

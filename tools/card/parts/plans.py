"""Planned against measured bytes: of this card, and of smaller ones that it plays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from miner.errors import MinerError
from tools.card.bench import GIB, ROOT, Bench
from tools.card.outcome import LINE, Figure, Outcome, Unmeasured
from tools.card.planned import CARDS, OWN


def run(bench: Bench, out: Outcome) -> None:
    """Each plan in a process of its own; tiny ones in one process, for the time of imports."""
    bench.tidy()
    names = [OWN, *CARDS]
    for group in [names] if bench.tiny else [[name] for name in names]:
        with out.attempt(", ".join(group)):
            _play(bench, out, group)


def _play(bench: Bench, out: Outcome, names: list[str]) -> None:
    for name in names:
        if name != OWN and not bench.tiny:
            free = bench.device.available_bytes() / GIB
            if free < CARDS[name][1]:
                raise Unmeasured(f"{free:.1f} GiB are free here")
    file = bench.folder / f"{names[0].replace(' ', '-')}.json"
    command = [sys.executable, "-m", "tools.card.played", ",".join(names), str(file)]
    done = subprocess.run(  # noqa: S603 - this program
        [*command, *(["--tiny"] if bench.tiny else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if file.exists():
        _take(json.loads(file.read_text(encoding="utf-8")), out)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise MinerError(f"ended with status {done.returncode}: {last[0][:LINE]}")


def _take(found: Mapping[str, Any], out: Outcome) -> None:
    """The figures and errors of the process as the part's own."""
    for values in found["figures"]:
        figure = Figure(**values)
        out.figures.append(figure)
        print(f"    {figure}", flush=True)
    out.errors += found["errors"]
    out.tracebacks += found["tracebacks"]
    for line in found["errors"]:
        out.status = "failed"
        print(f"    failed: {line}", flush=True)

"""One process for each plan: ``python -m tools.card.played NAME FILE [--tiny]``.

torch is held to the memory that a smaller card has, which is possible once in a process. What was
found goes to the file as JSON. Several names, separated by commas, are played one after another.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from miner.errors import MinerError
from miner.gpu.measured import compare
from tools.card.bench import GB, GIB, Bench
from tools.card.outcome import Outcome
from tools.card.planned import BUILT, OWN, Models, card_named, make

LIMITS = {"24 GB": 20.0}
"""GiB that a plan's peak is to stay below, where it is another than the plan's own limit."""


def main() -> None:
    """Plays the plans and writes what was found."""
    parser = argparse.ArgumentParser(prog="tools.card.played")
    parser.add_argument("names")
    parser.add_argument("file", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    bench, out = Bench.here(options.tiny, 1e6), Outcome("plans", "")
    for name in options.names.split(","):
        with out.attempt(name):
            play(name, bench, out)
        bench.tidy()
        options.file.write_text(json.dumps(asdict(out)), encoding="utf-8")


def play(name: str, bench: Bench, out: Outcome) -> None:
    """Builds a plan, does two jobs with it, and compares its bytes."""
    card = card_named(name, bench)
    if name != OWN and bench.device.is_cuda:
        total = torch.cuda.mem_get_info(bench.place)[1]
        torch.cuda.set_per_process_memory_fraction(card.free_bytes / total, bench.place)
    bench.tidy()
    models = make(bench, card)
    for stage in models.plan.stages:
        how = f"{stage.precision} {stage.residency}"
        out.add(f"{name}, {stage.component} is", how)
    _weights(name, models, out)
    if bench.device.is_cuda:
        out.add(f"{name}, peak while it was built", bench.peak() / GIB, "GiB")
    bench.tidy()
    bench.device.peaks.clear()  # from here on jobs alone count
    models.run("the first words", 0, lambda _: None)
    seconds = models.run("words that are new", 1, lambda _: None)
    out.add(f"{name}, picture, new words", seconds["picture"], "s")
    seconds = models.run("words that are new", 2, lambda _: None)
    out.add(f"{name}, picture, known words", seconds["picture"], "s")
    _peaks(name, models, out)


def _weights(name: str, models: Models, out: Outcome) -> None:
    """Of each part of the painter and of TripoSR, wherever they are."""
    tiny = models.bench.tiny
    for home in models.painter.homes():
        planned = models.plan.of(home.name).weight_bytes / GB
        with home.in_use() as networks:
            weights = networks.bytes / GB
        out.add(f"{name}, {home.name}", weights, "GB", planned=None if tiny else planned)
    if models.bench.device.is_cuda:
        resident = sum(s.resident_bytes for s in models.plan.stages if s.component in BUILT)
        rest = models.bench.allocated() / GB
        out.add(f"{name}, at rest", rest, "GB", planned=resident / GB)


def _peaks(name: str, models: Models, out: Outcome) -> None:
    """What is not made here, above all matting, counts with the bytes of the plan."""
    bench, plan = models.bench, models.plan
    others = sum(s.resident_bytes for s in plan.stages if s.component not in BUILT)
    limit = LIMITS.get(name, plan.limit_bytes / GIB)
    if not bench.device.is_cuda:
        out.add(f"{name}, peak", None, "GiB", planned=plan.peak_bytes / GIB, target=limit)
        return
    bench.device.reset_peak()
    peaks = {part: peak + others for part, peak in bench.device.peaks.items()}
    for one in compare(plan, peaks):
        if one.what in BUILT:
            found, planned = one.measured_bytes / GIB, one.planned_bytes / GIB
            out.add(f"{name}, peak with {one.what}", found, "GiB", planned=planned)
    peak = max(peaks.values()) / GIB
    out.add(f"{name}, peak", peak, "GiB", planned=plan.peak_bytes / GIB, target=limit)
    reserved = torch.cuda.max_memory_reserved(bench.place) / GIB
    out.add(f"{name}, reserved by torch", reserved, "GiB")


if __name__ == "__main__":
    try:
        main()
    except MinerError as error:
        sys.exit(str(error))

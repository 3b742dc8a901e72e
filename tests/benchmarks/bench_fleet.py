"""A fleet, simulated: 1,000 GPUs and 10,000 jobs an hour through the real queue and dispatch.

    python -m tests.benchmarks.bench_fleet [--figure docs/fleet.svg]

Nothing here is measured on a GPU. The queue, its order, deadlines, retries and admission, the pool
and a supervisor for each card are the program's own; the workers are stand-ins in memory, and the
clock is simulated (the event loop jumps to its next timer). Jobs arrive as a Poisson process with a
fixed seed, and a card takes 0.8 to 1.2 times the mean for a job. Half the jobs are of a high
priority. In the middle of some runs a tenth of the cards is lost with the jobs on them, for good or
for ten minutes. Cards give signs of life every 30 s, to keep a run short; what they cost at one a
second is measured apart.

Results go to standard output, ``out/bench_fleet.csv``, the page ``out/bench_fleet.html`` and a
figure.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from tests.benchmarks.fleet.clock import simulated
from tests.benchmarks.fleet.cost import costs
from tests.benchmarks.fleet.plots import figure, page
from tests.benchmarks.fleet.record import Record
from tests.benchmarks.fleet.scenarios import BUSY_BACK, BUSY_LOST, CALM_LOST, SCENARIOS, Scenario
from tests.benchmarks.fleet.simulation import simulate

OUT = Path(__file__).parents[2] / "out"
SHOWN = (CALM_LOST, BUSY_LOST, BUSY_BACK)
HEADING = "1,000 GPUs, 10,000 jobs an hour: a simulation, nothing measured on a GPU"
UNITS = "waits in simulated seconds, p50 and p99 by priority; took: seconds of one core for it all"


def main() -> int:
    """Prints the table; 1 where a job had no outcome, or a calm fleet missed a deadline."""
    parser = argparse.ArgumentParser(description="A simulated fleet.")
    parser.add_argument("--figure", type=Path, default=OUT / "bench_fleet.svg")
    figure_path = parser.parse_args().figure
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.ERROR)
    records = [_run(scenario) for scenario in SCENARIOS]
    rows = [record.row() for record in records]
    _print(rows)
    cost = _cost()
    print(UNITS, cost, sep="\n")
    OUT.mkdir(exist_ok=True)
    heads = list(rows[0])
    lines = [",".join(heads), *(",".join(f'"{row[h]}"' for h in heads) for row in rows)]
    (OUT / "bench_fleet.csv").write_text("\n".join(lines) + "\n")
    (OUT / "bench_fleet.html").write_text(page(records, rows, (HEADING, UNITS, cost)))
    figure_path.write_text(figure([r for r in records if r.scenario in SHOWN], HEADING))
    return int(not all(_is_well(record) for record in records))


def _run(scenario: Scenario) -> Record:
    began = time.process_time()
    record = simulated(simulate(scenario))
    record.computing_seconds = time.process_time() - began
    return record


def _is_well(record: Record) -> bool:
    offered, fates = record.scenario.jobs, record.fates
    done = fates["done"] == offered or record.scenario.load >= 0.5
    return fates.total() == offered and fates["other"] == 0 and done


def _print(rows: Sequence[Mapping[str, str]]) -> None:
    heads = list(rows[0])
    widths = [max(len(head), *(len(row[head]) for row in rows)) for head in heads]
    for row in (dict(zip(heads, heads, strict=True)), *rows):
        print("  ".join(f"{row[h]:>{w}}" for h, w in zip(heads, widths, strict=True)))


def _cost() -> str:
    """One line of what a large fleet costs the daemon."""
    said = ", ".join(f"{what} {share:.1%}" for what, share in costs().items())
    return f"1,000 workers with a sign of life each second, of one core: {said}"


if __name__ == "__main__":
    sys.exit(main())

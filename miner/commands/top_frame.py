"""One frame of ``miner top``: what the daemon told, drawn for a terminal of a given size.

Only drawing: nothing is asked here, and nothing kept between two frames. All text that comes from
others loses what could move the cursor.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from miner.commands.identity_table import several, short
from miner.commands.top_people import headline, identities, identities_lines, validators
from miner.commands.top_pieces import (
    BAD,
    DIM,
    GOOD,
    MEDIUM_COLUMNS,
    NAME_CELLS,
    WARN,
    WIDE_COLUMNS,
    pairs,
    panel,
    table,
)
from miner.commands.top_words import duration, plain, size
from miner.gpu.telemetry import GpuReading

FIXED_LINES = 24
"""Of a frame without its list of jobs, about; what is left of the height is for jobs."""
LEAST_JOBS, MOST_JOBS = 4, 40
MAX_DECISIONS, MAX_RUNNING, MAX_TROUBLES = 4, 4, 4
HOT_CELSIUS = 85.0
BAR_CELLS = 12
OPERATOR = "local"
"""The requester of jobs that were asked of none of our hotkeys."""

NUMBERS = ("when", "took", "waited", "score", "size")
STATES = {"done": GOOD, "failed": BAD, "running": "cyan", "queued": DIM}
WORKERS = {"ready": GOOD, "busy": "cyan", "loading": WARN, "warming": WARN}


@dataclass(frozen=True)
class Reading:
    """What one frame shows.

    Attributes:
        answer: of the control socket's ``overview``; None where nobody answered.
        trouble: why not.
        gpus: of this host.
        at: unix seconds of the reading.
    """

    answer: Mapping[str, Any] | None
    trouble: str = ""
    gpus: Sequence[GpuReading] = ()
    at: float = 0.0


def frame(reading: Reading, columns: int, lines: int) -> RenderableType:
    """The whole picture.

    Args:
        reading: what to show.
        columns: width of the terminal in cells.
        lines: its height; the list of jobs takes what is left.
    """
    if reading.answer is None:
        note = Text(plain(reading.trouble), style=BAD)
        return Panel(Group(note, Text("asking again", style=DIM)), title="miner", box=box.ROUNDED)
    answer, status = reading.answer, reading.answer["status"]
    ours = several(status)
    jobs = max(LEAST_JOBS, min(MOST_JOBS, lines - FIXED_LINES - identities_lines(ours)))
    left = (_generator(status, answer["events"]), _queue(status))
    right = (_workers(status, reading.gpus), validators(answer, columns))
    parts = [_headline(status, reading.at), *_troubles(status)]
    if ours:
        parts.append(identities(ours, columns))
    if columns >= WIDE_COLUMNS:
        grid = Table.grid(expand=True, padding=0)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(Group(*left), Group(*right))
        parts.append(grid)
    else:
        parts += [*left, *right]
    return Group(*parts, _jobs(answer["jobs"][:jobs], reading.at, columns, bool(ours)))


def _headline(status: Mapping[str, Any], at: float) -> RenderableType:
    ready = bool(status.get("ready"))
    text = Text()
    text.append(" READY " if ready else " NOT READY ", style="reverse " + (GOOD if ready else BAD))
    text.append(f"  {plain(status.get('preset'))} on {plain(status.get('device'))}", style="bold")
    text.append(f"  splat-miner {plain(status.get('version'))}")
    text.append(f"  up {duration(status.get('uptime_seconds') or 0)}")
    if ours := several(status):
        text.append(headline(ours))
    else:
        text.append(_ourselves(status))
    text.append(f"  {time.strftime('%H:%M:%S', time.localtime(at))}", style=DIM)
    return text


def _ourselves(status: Mapping[str, Any]) -> str:
    """The only identity there is."""
    hotkey, chain = short(status.get("hotkey")), status.get("chain")
    name = f"  {hotkey}" if hotkey else ""
    standing = (chain or {}).get("standing") or {}
    if not standing.get("registered"):
        return name if chain is None else f"{name}  not registered"
    place = f"uid {standing.get('uid')}, rank {standing.get('rank')} of {standing.get('neurons')}"
    return f"{name}  {place}"


def _troubles(status: Mapping[str, Any]) -> list[RenderableType]:
    """Why it is not ready, and what else wants a look."""
    lines = [plain(reason) for reason in status.get("reasons") or []]
    for worker in status.get("workers") or []:
        if worker.get("last_error") and worker.get("restarts"):
            lines.append(f"worker {plain(worker['name'])}: {plain(worker['last_error'])}")
        lines += [plain(warning) for warning in (worker.get("plan") or {}).get("warnings", [])]
    return [
        Text(f"  ! {line}", style=WARN, no_wrap=True, overflow="ellipsis") for line in lines[:4]
    ]


def _generator(status: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> RenderableType:
    rollback = status.get("rollback") or {}
    state = str(rollback.get("state", "closed"))
    grid = pairs()
    name = plain(status.get("generator") or "none")
    usual = state == "closed" and not rollback.get("steps")
    grid.add_row("in use", Text(name, style=GOOD if usual else WARN))
    words = state.replace("_", " ") + (f" ({rollback['cause']})" if rollback.get("cause") else "")
    if rollback.get("offered"):
        grid.add_row("breaker", Text(plain(words), style=GOOD if usual else WARN))
    else:
        grid.add_row("breaker", Text("no generator to roll back to", style=DIM))
    if steps := rollback.get("steps"):
        grid.add_row("with", Text(plain(", ".join(steps)), style=WARN))
    for event in list(events)[-MAX_DECISIONS:]:
        grid.add_row(_clock(event.get("at")), Text(_decision(event), no_wrap=True))
    return panel("generator", grid)


def _decision(event: Mapping[str, Any]) -> str:
    detail = event.get("detail") or {}
    told = ", ".join(f"{plain(key)} {plain(value)}" for key, value in detail.items() if value != "")
    return f"{plain(event.get('kind'))}: {told}" if told else plain(event.get("kind"))


def _queue(status: Mapping[str, Any]) -> RenderableType:
    queue, counters = status.get("queue") or {}, status.get("counters") or {}
    grid = pairs()
    service = queue.get("service_seconds")
    took = f", {service:.1f} s each" if service else ""
    grid.add_row("waiting", f"{queue.get('depth', 0)}, {queue.get('in_flight', 0)} running{took}")
    running = [job for job in queue.get("jobs") or [] if job.get("state") == "running"]
    for job in running[:MAX_RUNNING]:
        grid.add_row(Text("running", style="cyan"), _progress(job))
    numbers = [
        f"{int(counters.get(f'jobs_{name}') or 0):,} {name}"
        for name in ("accepted", "finished", "refused", "joined")
    ]
    grid.add_row("jobs", ", ".join(numbers))
    rejected = int(counters.get("requests_rejected") or 0)
    grid.add_row("requests", f"{int(counters.get('requests') or 0):,}, {rejected:,} rejected")
    journal = status.get("journal") or {}
    kept = f"{journal.get('unfinished', 0)} unfinished, {journal.get('results', 0)} results"
    grid.add_row("journal", f"{kept}, {size(journal.get('result_bytes'))}")
    return panel("queue", grid)


def _progress(job: Mapping[str, Any]) -> RenderableType:
    stage = plain(job.get("stage") or "starting")
    done, total = job.get("steps") or (0, 0)
    return f"{stage} {done}/{total}" if total > 1 else stage


def _workers(status: Mapping[str, Any], gpus: Sequence[GpuReading]) -> RenderableType:
    rows: list[RenderableType] = []
    workers = status.get("workers") or []
    held = {worker.get("name"): ", ".join(worker.get("generators") or []) for worker in workers}
    for worker in workers:
        state, age = plain(worker.get("state")), worker.get("heartbeat_age_seconds")
        line = Text(f"worker {plain(worker.get('name'))} ")
        line.append(state, style=WORKERS.get(state, BAD))
        if len(set(held.values())) > 1:
            line.append(f" with {plain(held[worker.get('name')])}")
        line.append(f" on {plain(worker.get('device'))}, {worker.get('restarts', 0)} restarts")
        line.append("" if age is None else f", alive {age:.1f} s ago")
        rows += [line, _memory(worker)]
    rows += [_gpu(gpu) for gpu in gpus]
    if not gpus:
        rows.append(Text("no GPU of NVIDIA's on this machine", style=DIM))
    return panel("workers and GPUs", Group(*rows))


def _memory(worker: Mapping[str, Any]) -> RenderableType:
    memory, plan = worker.get("memory_bytes") or {}, worker.get("plan") or {}
    parts = [f"resident {size(memory.get('resident'))}"]
    if peak := memory.get("gpu_peak"):
        parts.append(f"GPU peak {size(peak)}")
    if plan:
        limit = f"plan {size(plan.get('peak_bytes'))} of {size(plan.get('limit_bytes'))}"
        parts.append(f"{limit} ({plain(plan.get('painter'))})")
    return Text("  " + ", ".join(parts), style=DIM, no_wrap=True, overflow="ellipsis")


def _gpu(gpu: GpuReading) -> RenderableType:
    text = Text(f"GPU {gpu.label} {plain(gpu.name)} ")
    if gpu.used_bytes is not None and gpu.total_bytes:
        filled = round(BAR_CELLS * gpu.used_bytes / gpu.total_bytes)
        text.append("█" * filled, style="cyan").append("░" * (BAR_CELLS - filled), style=DIM)
        text.append(f" {size(gpu.used_bytes)} of {size(gpu.total_bytes)}")
    if gpu.utilization is not None:
        text.append(f", {gpu.utilization:.0%} busy")
    if gpu.celsius is not None:
        text.append(f", {gpu.celsius:.0f} °C", style=BAD if gpu.celsius >= HOT_CELSIUS else "")
    if gpu.watts is not None:
        text.append(f", {gpu.watts:.0f} W")
    return text


def _jobs(
    jobs: Sequence[Mapping[str, Any]], at: float, columns: int, whose: bool
) -> RenderableType:
    """The last jobs; ``whose`` adds the identity that each was asked of."""
    found, names = table(), _headings(columns, whose)
    for name in names:
        if name == "prompt":
            found.add_column(name, ratio=1, min_width=8, no_wrap=True, overflow="ellipsis")
        elif name == "identity":
            found.add_column(name, max_width=NAME_CELLS, no_wrap=True, overflow="ellipsis")
        else:
            found.add_column(name, justify="right" if name in NUMBERS else "left")
    for job in jobs:
        cells = _job(job, at)
        found.add_row(*(cells[name] for name in names))
    return panel("last jobs", found if jobs else Text("none yet", style=DIM))


def _headings(columns: int, whose: bool) -> list[str]:
    ours = ["identity"] if whose else []
    if columns >= WIDE_COLUMNS:
        numbers = ["took", "waited", "score", "size"]
        return ["when", "by", *ours, "prompt", "state", "generator", *numbers, "for"]
    if columns >= MEDIUM_COLUMNS:  # room for one of the two
        return ["when", "by", *ours, "prompt", "state", *([] if whose else ["generator"]), "took"]
    return ["when", "prompt", "state", "took"]


def _job(job: Mapping[str, Any], at: float) -> dict[str, RenderableType]:
    """All that may be shown of a job, by the headings."""
    state = str(job.get("state"))
    label = job.get("stage") or state if state == "running" else job.get("code") or state
    accepted, score = job.get("accepted_at") or at, job.get("score")
    began, ended = job.get("begun_at"), job.get("finished_at")
    return {
        "when": f"{duration(max(0.0, at - accepted))} ago",
        "by": plain(job.get("intake")),
        "identity": _whose(job),
        "prompt": plain(job.get("prompt") or "(picture)"),
        "state": Text(plain(label), style=STATES.get(state, "")),
        "generator": plain(job.get("generator") or ""),
        "took": "" if began is None else f"{max(0.0, (ended or at) - began):.1f} s",
        "waited": f"{max(0.0, (began or at) - accepted):.1f} s",
        "score": "" if score is None else f"{score:.2f}",
        "size": size(job["bytes"]) if job.get("bytes") else "",
        "for": short(job.get("requester")),
    }


def _whose(job: Mapping[str, Any]) -> str:
    """Ours that a job was asked of; nobody's where the operator asked for it."""
    return "" if job.get("requester") == OPERATOR else plain(job.get("identity") or "")


def _clock(at: float | None) -> str:
    return "" if at is None else time.strftime("%H:%M:%S", time.localtime(at))

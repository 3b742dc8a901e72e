"""The page of a soak: verdict, figures and plots in one file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from tests.plots.style import PAGE
from tests.plots.svg import Axes, bands, dots, line, nice, plot, strip
from tests.soak.memory import MIB
from tests.soak.record import COUNTED, Record, Sample
from tests.soak.verdict import Check, calm_latencies, fault_latencies

PRIMARY, OTHER = "triposr", "dreamgaussian"


def page(record: Record, checks: Sequence[Check]) -> str:
    """The whole file."""
    held = all(check.held for check in checks)
    word = "everything held" if held else "something did not hold"
    axes_top = max(record.settled, record.seconds, 1.0)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Soak: {word}</title><style>{PAGE}</style></head><body><main>",
        f'<h1>Soak <span class="verdict {"good" if held else "bad"}">{word}</span></h1>',
        f"<p>{_summary(record)}</p>",
        "<h2>What had to hold</h2>",
        _checks(checks),
        f"<pre>{escape(record.broke)}</pre>" if record.broke else "",
        "<h2>Over time</h2>",
        _legend(),
        _latency_plot(record, axes_top),
        _states(record, axes_top),
        _queue_plot(record, axes_top),
        _memory_plot(record, axes_top),
        "<h2>Latencies, seconds</h2>",
        _latencies(record),
        "<h2>What the requests became</h2>",
        _outcomes(record),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _summary(record: Record) -> str:
    lives = record.samples[-1].life if record.samples else 0
    return (
        f"{len(record.requests)} signed requests at {record.rate:g} a second for"
        f" {record.seconds:.0f} s, {len(record.faults)} faults, {lives} lives of the daemon."
        " Red is a fault, yellow the recovery from it; their numbers are those of the table"
        " of latencies. A pointer over a dot shows what it was."
    )


def _checks(checks: Sequence[Check]) -> str:
    rows = [
        f'<tr><td class="{"yes" if one.held else "no"}">{"held" if one.held else "FAILED"}</td>'
        f"<td>{escape(one.name)}</td><td>{escape(one.seen)}</td></tr>"
        for one in checks
    ]
    return f"<table><tr><th></th><th>promise</th><th>seen</th></tr>{''.join(rows)}</table>"


def _legend() -> str:
    keys = [
        f'<span class="key"><i style="background:var(--{name})"></i>{name}</span>'
        for name in COUNTED
    ]
    return f"<p>{''.join(keys)}</p>"


def _faults(record: Record, axes: Axes) -> str:
    return bands(
        axes,
        (
            (one.name, one.began, one.lifted, one.lifted + (one.ready_seconds or 0.0))
            for one in record.faults
        ),
    )


def _latency_plot(record: Record, seconds: float) -> str:
    slowest = max((one.seconds for one in record.requests), default=1.0)
    axes = Axes(seconds, nice(slowest))
    points = (
        (one.at, one.seconds, one.result, f"{one.kind} {one.seconds:.1f} s {one.result} {one.note}")
        for one in record.requests
    )
    title = "how long each request took"
    return plot(title, "s", axes, _faults(record, axes), dots(axes, points))


def _states(record: Record, seconds: float) -> str:
    axes = Axes(seconds, 1.0)
    ready = [(one.at, "ready" if one.ready else "not ready") for one in record.samples]
    in_use = [(one.at, one.generator or "none") for one in record.samples]
    return strip(
        "ready (green), not ready (red)", axes, ready, {"ready": "yes", "not ready": "no"}
    ) + strip(
        f"generator in use: {PRIMARY} (blue), {OTHER} (orange)",
        axes,
        in_use,
        {PRIMARY: "first", OTHER: "second"},
    )


def _queue_plot(record: Record, seconds: float) -> str:
    def of(sample: Sample) -> float | None:
        if sample.depth is None or sample.in_flight is None:
            return None
        return sample.depth + sample.in_flight

    points = [(one.at, of(one)) for one in record.samples]
    axes = Axes(seconds, nice(max((value or 0 for _, value in points), default=1) or 1))
    title = "jobs in the queue and at work"
    return plot(title, "", axes, _faults(record, axes), line(axes, points, "a"))


def _memory_plot(record: Record, seconds: float) -> str:
    def mib(size: int | None) -> float | None:
        return None if size is None else size / MIB

    daemon = [(one.at, mib(one.daemon_bytes)) for one in record.samples]
    worker = [(one.at, mib(one.worker_bytes)) for one in record.samples]
    plots = []
    for title, points, kind in (
        ("resident memory of the daemon", daemon, "a"),
        ("resident memory of the worker", worker, "b"),
    ):
        axes = Axes(seconds, nice(max((value or 0 for _, value in points), default=1) or 1))
        plots.append(plot(title, "MiB", axes, _faults(record, axes), line(axes, points, kind)))
    return "".join(plots)


def _latencies(record: Record) -> str:
    rows = [("between faults", calm_latencies(record), "", "")]
    names = dict.fromkeys(fault.name for fault in record.faults)
    for number, name in enumerate(names, 1):
        same = [fault for fault in record.faults if fault.name == name]
        ready = _worst([fault.ready_seconds for fault in same])
        served = _worst([fault.served_seconds for fault in same])
        rows.append((f"{number} {name}", fault_latencies(record, name), ready, served))
    heads = ["p50", "p95", "p99", "most", "as usual after", "served after"]
    head = "".join(f'<th class="n">{name}</th>' for name in heads)
    body = "".join(
        f"<tr><td>{escape(name)}</td>{_numbers(figures)}"
        f'<td class="n">{ready}</td><td class="n">{served}</td></tr>'
        for name, figures, ready, served in rows
    )
    return f"<table><tr><th>while</th>{head}</tr>{body}</table>"


def _worst(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.1f}" if len(known) == len(values) else "never"


def _numbers(figures: Mapping[str, float]) -> str:
    names = ("p50", "p95", "p99", "max")
    return "".join(
        f'<td class="n">{figures[name]:.2f}</td>' if name in figures else '<td class="n">-</td>'
        for name in names
    )


def _outcomes(record: Record) -> str:
    counted = Counter((one.kind, one.spoiled, one.result) for one in record.requests)
    rows = []
    for kind in ("generate", "task"):
        for spoiled in (False, True):
            cells = "".join(
                f'<td class="n">{counted[(kind, spoiled, result)]}</td>'  # type: ignore[index]
                for result in COUNTED
            )
            way = "through the fault proxy" if spoiled else "direct"
            rows.append(f"<tr><td>{kind}, {way}</td>{cells}</tr>")
    head = "".join(f'<th class="n">{name}</th>' for name in COUNTED)
    notes = Counter(one.note for one in record.requests if one.result != "done")
    said = "".join(
        f'<tr><td class="n">{count}</td><td>{escape(note)}</td></tr>'
        for note, count in notes.most_common(12)
    )
    return (
        f"<table><tr><th>request</th>{head}</tr>{''.join(rows)}</table>"
        f"<h2>What they were told</h2><table>{said}</table>"
    )

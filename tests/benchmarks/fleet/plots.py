"""The runs of a fleet as plots: one figure to be shown anywhere, and a page with all of them.

The first hour of each run is drawn, in simulated time. The figure brings its own background and
colours, as a page that shows it as a picture lends it none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape

from tests.benchmarks.fleet.record import FATES, Record, quantile
from tests.plots.style import DRAWING, LIGHT, PAGE
from tests.plots.svg import Axes, band, bars, line, nice, panel

BIN_SECONDS = 120.0
"""Some 170 jobs of each of two kinds."""

PANEL_WIDTH, PANEL_HEIGHT, MARGIN, HEAD = 400, 190, 12, 74
COLOURS = ("a", "b")
"""Of the kinds, in their order."""

FLEET_STYLE = """
path.p50{stroke-width:1.3;stroke-dasharray:2 3}path.alive{stroke:var(--ink)}
path.busy{stroke:var(--done)}rect.done{fill:var(--done)}rect.missed{fill:var(--failed)}
rect.refused{fill:var(--refused)}.mark{stroke:var(--failed);stroke-dasharray:4 3}
.head{font:600 15px system-ui,sans-serif;fill:var(--ink)}
.heading{font:600 19px system-ui,sans-serif;fill:var(--ink)}
.key{font:13px system-ui,sans-serif;fill:var(--soft)}
"""


def figure(records: Sequence[Record], heading: str) -> str:
    """The runs side by side, with the same scale in each row."""
    width = len(records) * PANEL_WIDTH + 2 * MARGIN
    height = HEAD + 22 + 3 * PANEL_HEIGHT + MARGIN
    tops = _tops(records)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"',
        f' aria-label="{escape(heading)}"><style>svg{{{LIGHT}}}{DRAWING}{FLEET_STYLE}</style>',
        f'<rect width="{width}" height="{height}" rx="6" fill="#fff"/>',
        f'<text class="heading" x="{MARGIN + 10}" y="30">{escape(heading)}</text>',
        _legend(MARGIN + 10, 56, records[0]),
    ]
    for column, record in enumerate(records):
        x = MARGIN + column * PANEL_WIDTH
        title = escape(record.scenario.title)
        parts.append(f'<text class="head" x="{x + 62}" y="{HEAD + 14}">{title}</text>')
        parts += _panels(record, tops, [(x, HEAD + 22 + row * PANEL_HEIGHT) for row in range(3)])
    return "".join([*parts, "</svg>\n"])


def page(records: Sequence[Record], rows: Sequence[Mapping[str, str]], notes: Sequence[str]) -> str:
    """All runs with their table, in one file that needs nothing else."""
    head = "".join(f'<th class="n">{escape(name)}</th>' for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f'<td class="n">{escape(cell)}</td>' for cell in row.values()) + "</tr>"
        for row in rows
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>A simulated fleet</title><style>{PAGE}{FLEET_STYLE}</style></head><body><main>",
        "<h1>A simulated fleet</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        f'<div style="overflow-x:auto"><table><tr>{head}</tr>{body}</table></div>',
        *(_strip(record) for record in records),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _strip(record: Record) -> str:
    """The three panels of one run beside each other, with their own scales."""
    places = [(column * PANEL_WIDTH, 22) for column in range(3)]
    box = f'viewBox="0 0 {3 * PANEL_WIDTH + MARGIN} {PANEL_HEIGHT + 44}" role="img"'
    title = escape(record.scenario.title)
    return (
        f'<svg {box} aria-label="{title}"><text class="head" x="62" y="16">{title}</text>'
        f"{''.join(_panels(record, _tops([record]), places))}"
        f"{_legend(62, PANEL_HEIGHT + 36, record)}</svg>"
    )


def _panels(record: Record, tops: Sequence[float], places: Sequence[tuple[int, int]]) -> list[str]:
    parts = []
    names = ("seconds until a job begins", f"jobs in {BIN_SECONDS / 60:g} min", "cards")
    layers: tuple[Callable[[Record, Axes], list[str]], ...] = (_waits, _fates, _cards)
    for (x, y), top, name, draw in zip(places, tops, names, layers, strict=True):
        axes = Axes(record.scenario.during, top, PANEL_WIDTH, PANEL_HEIGHT)
        parts.append(panel(x, y, name, "", axes, _loss(record, axes), *draw(record, axes)))
    return parts


def _tops(records: Sequence[Record]) -> list[float]:
    """Of the values of each row, the most in any of the runs."""
    waits = [
        value
        for record in records
        for kind in record.scenario.kinds
        for _, value in _quantiles(record, kind.name, 0.99)
        if value is not None
    ]
    jobs = [sum(counts.values()) for record in records for counts in _by_bin(record)]
    cards = [record.scenario.gpus for record in records]
    return [nice(max(values, default=1.0)) for values in (waits, jobs, cards)]


def _bins(record: Record) -> list[float]:
    return [number * BIN_SECONDS for number in range(int(record.scenario.during / BIN_SECONDS))]


def _quantiles(record: Record, kind: str, share: float) -> list[tuple[float, float | None]]:
    points: list[tuple[float, float | None]] = []
    for start in _bins(record):
        waits = record.waits(kind, start, start + BIN_SECONDS)
        points.append((start + BIN_SECONDS / 2, quantile(waits, share) if waits else None))
    return points


def _waits(record: Record, axes: Axes) -> list[str]:
    return [
        line(axes, _quantiles(record, kind.name, share), f"{colour} {name}")
        for kind, colour in zip(record.scenario.kinds, COLOURS, strict=False)
        for share, name in ((0.99, "p99"), (0.5, "p50"))
    ]


def _by_bin(record: Record) -> list[Counter[str]]:
    """What jobs became, by the time they became it."""
    counts = [Counter[str]() for _ in _bins(record)]
    for job in record.jobs:
        if (number := int(job.ended / BIN_SECONDS)) < len(counts):
            counts[number][job.fate] += 1
    return counts


def _fates(record: Record, axes: Axes) -> list[str]:
    stacks = (
        (start, start + BIN_SECONDS, [(fate, counts[fate]) for fate in FATES])
        for start, counts in zip(_bins(record), _by_bin(record), strict=True)
    )
    return [bars(axes, stacks)]


def _cards(record: Record, axes: Axes) -> list[str]:
    shown = [one for one in record.samples if one.at <= axes.seconds]
    return [
        line(axes, [(one.at, float(one.busy)) for one in shown], "busy"),
        line(axes, [(one.at, float(one.alive)) for one in shown], "alive"),
    ]


def _loss(record: Record, axes: Axes) -> str:
    """The time without the lost cards, with a mark at its begin."""
    loss = record.scenario.loss
    if loss is None:
        return ""
    end = axes.seconds if loss.back_after is None else loss.at + loss.back_after
    x, label = axes.x(loss.at), f"{loss.share:.0%} of the cards lost"
    return (
        band("fault", axes, loss.at, min(end, axes.seconds), label)
        + f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{axes.y(axes.top):.1f}"'
        f' y2="{axes.y(0.0):.1f}"/>'
    )


def _legend(x: int, y: int, record: Record) -> str:
    """Every line and colour with its name, from a point to the right."""
    keys: list[tuple[str, str, str]] = []
    for kind, colour in zip(record.scenario.kinds, COLOURS, strict=False):
        keys.append(("path", f"{colour} p99", f"{kind.name} priority, p99"))
        keys.append(("path", f"{colour} p50", f"{kind.name}, p50"))
    keys += [("rect", fate, fate) for fate in ("done", "missed", "refused")]
    keys += [("path", "alive", "cards alive"), ("path", "busy", "busy")]
    keys.append(("rect", "fault", "while cards are lost"))
    parts = []
    for mark, kind, text in keys:
        if mark == "path":
            parts.append(f'<path class="{kind}" d="M{x} {y - 4}h22"/>')
        else:
            parts.append(f'<rect class="{kind}" x="{x + 6}" y="{y - 10}" width="12" height="12"/>')
        parts.append(f'<text class="key" x="{x + 28}" y="{y}">{escape(text)}</text>')
        x += 40 + round(7.3 * len(text))
    return "".join(parts)

"""Plots as SVG text, for a page without scripts: dots, lines and strips over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 1000, 220
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 22, 28
TICKS = 5
LABEL_PIXELS = 125
"""At least, from one label of the time to the next."""
MOST_POINTS = 4000
"""Of a line: more than the pixels there are, less than a night has."""


@dataclass(frozen=True)
class Axes:
    """Where values lie in a plot; time goes from 0 to ``seconds``, values from 0 to ``top``.

    Attributes:
        width, height: of the whole plot with its ticks, pixels.
    """

    seconds: float
    top: float
    width: int = WIDTH
    height: int = HEIGHT

    def x(self, at: float) -> float:
        """Pixels from the left."""
        return LEFT + (self.width - LEFT - RIGHT) * at / max(self.seconds, 1e-9)

    def y(self, value: float) -> float:
        """Pixels from above."""
        share = min(1.0, value / max(self.top, 1e-9))
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * share


def plot(title: str, unit: str, axes: Axes, *layers: str) -> str:
    """One figure: frame, ticks and what lies in it; the first layer lies behind the ticks."""
    box = f'viewBox="0 0 {axes.width} {axes.height}" role="img" aria-label="{escape(title)}"'
    return f"<svg {box}>{_inside(title, unit, axes, *layers)}</svg>"


def panel(x: int, y: int, title: str, unit: str, axes: Axes, *layers: str) -> str:
    """The same as a part of a larger figure, with its upper left corner there."""
    inside = _inside(title, unit, axes, *layers)
    return f'<g transform="translate({x} {y})">{inside}</g>'


def _inside(title: str, unit: str, axes: Axes, *layers: str) -> str:
    parts = [
        *layers[:1],
        *_value_ticks(axes, unit),
        *_time_ticks(axes),
        *layers[1:],
        f'<text class="title" x="{LEFT}" y="14">{escape(title)}</text>',
    ]
    return "".join(parts)


def bands(axes: Axes, spans: Iterable[tuple[str, float, float, float]]) -> str:
    """Faults behind a plot: name, begin, end, and the end of the recovery; a number each."""
    parts, numbers = [], dict[str, int]()
    for name, began, lifted, over in spans:
        label, number = escape(name), numbers.setdefault(name, len(numbers) + 1)
        parts.append(band("fault", axes, began, max(lifted, began + axes.seconds / 500), label))
        parts.append(band("recovery", axes, lifted, over, f"{label}: recovery"))
        parts.append(
            f'<text class="tick" x="{axes.x(began) + 2:.1f}" y="{TOP + 11}">{number}</text>'
        )
    return "".join(parts)


def band(kind: str, axes: Axes, start: float, end: float, label: str) -> str:
    """A time behind a plot: class of style, and what a pointer over it shows."""
    width = max(0.0, axes.x(end) - axes.x(start))
    return (
        f'<rect class="{kind}" x="{axes.x(start):.1f}" y="{TOP}" width="{width:.1f}"'
        f' height="{axes.height - TOP - BOTTOM}"><title>{label}</title></rect>'
    )


def dots(axes: Axes, points: Iterable[tuple[float, float, str, str]]) -> str:
    """Single values: seconds, value, class of style, and what a pointer over it shows."""
    return "".join(
        f'<circle class="{kind}" cx="{axes.x(at):.1f}" cy="{axes.y(value):.1f}" r="2.6">'
        f"<title>{escape(label)}</title></circle>"
        for at, value, kind, label in points
    )


def line(axes: Axes, points: Sequence[tuple[float, float | None]], kind: str) -> str:
    """A line that is interrupted where there is no value."""
    parts, begun = [], False
    for at, value in points[:: max(1, len(points) // MOST_POINTS)]:
        if value is None:
            begun = False
            continue
        parts.append(f"{'L' if begun else 'M'}{axes.x(at):.1f} {axes.y(value):.1f}")
        begun = True
    return f'<path class="{kind}" d="{" ".join(parts)}"/>'


def bars(axes: Axes, stacks: Iterable[tuple[float, float, Sequence[tuple[str, float]]]]) -> str:
    """Stacked bars: begin, end, and from below the class of style and the height of each part."""
    parts = []
    for start, end, stack in stacks:
        x, below = axes.x(start), 0.0
        width = max(0.0, axes.x(end) - x - 0.6)
        for kind, value in stack:
            y = axes.y(below + value)
            height = axes.y(below) - y
            if height > 0:
                parts.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}"'
                    f' height="{height:.1f}"/>'
                )
            below += value
    return "".join(parts)


def strip(
    title: str, axes: Axes, states: Sequence[tuple[float, str]], kinds: Mapping[str, str]
) -> str:
    """A state over time as a coloured strip; ``kinds`` gives each state its class of style."""
    height = 40
    states = [one for at, one in enumerate(states) if not at or states[at - 1][1] != one[1]]
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for (at, state), (until, _) in zip(states, [*states[1:], (axes.seconds, "")], strict=False):
        width = max(0.0, axes.x(until) - axes.x(at)) + 0.5
        parts.append(
            f'<rect class="{kinds.get(state, "other")}" x="{axes.x(at):.1f}" y="18"'
            f' width="{width:.1f}" height="16"><title>{escape(state)}</title></rect>'
        )
    parts.append(f'<text class="title" x="{LEFT}" y="12">{escape(title)}</text></svg>')
    return "".join(parts)


def nice(value: float) -> float:
    """The next round number from a value on."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 2, 2.5, 5, 10) if unit * step >= value * 0.9999)


def _value_ticks(axes: Axes, unit: str) -> Iterable[str]:
    for number in range(TICKS):
        value = axes.top * number / (TICKS - 1)
        y = axes.y(value)
        label = f"{value:g}" if axes.top >= 4 or axes.top < 1 else f"{value:.2f}"
        right = axes.width - RIGHT
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        text = f"{label} {unit}" if number == TICKS - 1 else label
        yield f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _time_ticks(axes: Axes) -> Iterable[str]:
    hours = axes.seconds > 3 * 3600
    minutes = axes.seconds > 300
    unit, length = ("h", 3600.0) if hours else ("min", 60.0) if minutes else ("s", 1.0)
    step = nice(axes.seconds / length * LABEL_PIXELS / axes.width) * length
    at = 0.0
    while at <= axes.seconds:
        yield (
            f'<text class="tick" x="{axes.x(at):.1f}" y="{axes.height - 8}" text-anchor="middle">'
            f"{at / length:g} {unit}</text>"
        )
        at += step

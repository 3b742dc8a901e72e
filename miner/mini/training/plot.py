"""Curves of training runs as one SVG: ``python -m miner.mini.training.plot RUNS OUT.svg``.

Written by hand rather than by a plotting library, which nothing else here would use.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PANELS = (
    ("tsr", "occ", "TripoSR: occupancy loss"),
    ("tsr", "color", "TripoSR: colour loss"),
    ("vae", "psnr_object", "VAE: PSNR on the object, dB"),
    ("flow", "loss", "FLUX: velocity loss"),
    ("zero123", "loss", "zero123: noise loss"),
    ("clip", "first", "CLIP: own text first of 192"),
)
WIDTH, HEIGHT, MARGIN = 300, 170, 34
SMOOTH = 5
"""Points averaged into one: single batches are noisy."""


@dataclass(frozen=True)
class Curve:
    """One panel: minutes of training and the value then."""

    title: str
    minutes: list[float]
    values: list[float]


def kept(rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Without the steps that a resumption from an earlier checkpoint did again."""
    found: list[dict[str, float]] = []
    for row in rows:
        while found and found[-1]["step"] >= row["step"]:
            found.pop()
        found.append(row)
    return found


def read(runs: Path, run: str, key: str, title: str) -> Curve:
    """The curve of one key in one run, smoothed."""
    lines = (runs / run / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    rows = kept([row for row in map(json.loads, lines) if key in row])
    width = SMOOTH if len(rows) > 20 * SMOOTH else 1
    groups = [rows[i : i + width] for i in range(0, len(rows), width)]
    return Curve(
        title,
        [sum(r["minutes"] for r in g) / len(g) for g in groups],
        [sum(r[key] for r in g) / len(g) for g in groups],
    )


def panel(curve: Curve, x: int) -> str:
    """One panel whose left edge is at ``x``."""
    low, high = min(curve.values), max(curve.values)
    span, last = (high - low) or 1.0, curve.minutes[-1]
    across, down = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    points = " ".join(
        f"{x + MARGIN + m / last * across:.1f},{HEIGHT - MARGIN - (v - low) / span * down:.1f}"
        for m, v in zip(curve.minutes, curve.values, strict=True)
    )
    left, right, bottom = x + MARGIN, x + WIDTH - MARGIN, HEIGHT - MARGIN
    return (
        f'<text x="{left}" y="18">{curve.title}</text>'
        f'<path d="M{left} {MARGIN}V{bottom}H{right}" fill="none" stroke="#999"/>'
        f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>'
        f'<text x="{left + 4}" y="{MARGIN + 8}">{high:.3g}</text>'
        f'<text x="{right}" y="{bottom - 4}" text-anchor="end">{curve.values[-1]:.3g}</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{last:.0f} min</text>'
    )


def draw(curves: Sequence[Curve]) -> str:
    """All panels side by side."""
    width = WIDTH * len(curves)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="{width}" height="{HEIGHT}" '
        f'fill="#fff"/>{"".join(panel(c, i * WIDTH) for i, c in enumerate(curves))}</svg>\n'
    )


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    o = parser.parse_args()
    o.out.write_text(draw([read(o.runs, *panel) for panel in PANELS]), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Memory plans as text: one plan in columns, or many plans as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from miner.gpu.counted import TOLERANCE, Count
from miner.gpu.plan import Card, MemoryPlan, StagePlan
from miner.gpu.reasons import gib

HEADINGS = ("stage", "model", "precision", "residency", "weights", "peak", "seconds", "reason")
COUNT_HEADINGS = ("stage", "precision", "sizes from", "counted bytes", "planned", "difference")
OVERVIEW = (
    *("card", "host", "preset", "painter", "text encoders", "transformer", "TripoSR"),
    *("peak", "of", "seconds"),
)


def table(plan: MemoryPlan) -> Iterator[str]:
    """The lines of one plan: the card, a row for each stage, the whole, the warnings."""
    yield f"{_card(plan.card)}, {gib(plan.card.host_bytes)} of host memory"
    rows = [HEADINGS, *(_row(stage) for stage in plan.stages)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
    known = plan.seconds is not None
    guess = f"; a prompt takes about {_seconds(plan.seconds)} s, an estimate" if known else ""
    yield f"peak {gib(plan.peak_bytes)} of {gib(plan.limit_bytes)}{guess}"
    yield from (f"warning: {text}" for text in plan.warnings)


def overview(plans: Sequence[tuple[str, MemoryPlan]]) -> Iterator[str]:
    """The lines of a Markdown table with one row for each plan and its preset."""
    yield _cells(OVERVIEW)
    yield _cells(["---"] * len(OVERVIEW))
    for preset, plan in plans:
        yield _cells(
            (
                _card(plan.card),
                gib(plan.card.host_bytes),
                f"`{preset}`",
                plan.painter,
                _place(plan, "text_encoders"),
                _place(plan, "transformer"),
                _place(plan, "triposr"),
                gib(plan.peak_bytes),
                gib(plan.limit_bytes),
                _seconds(plan.seconds),
            )
        )


def counts_table(counts: Sequence[Count]) -> Iterator[str]:
    """The lines of a plan beside what its networks take, and what is off."""
    rows = [COUNT_HEADINGS, *(_count_row(count) for count in counts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COUNT_HEADINGS))]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
    off = [count.component for count in counts if count.is_off]
    most = f"{TOLERANCE:.0%}"
    yield f"off by more than {most}: {', '.join(off)}" if off else f"all within {most} of the plan"


def _count_row(count: Count) -> tuple[str, ...]:
    return (
        count.component,
        count.precision,
        count.source,
        f"{count.counted_bytes:,}",
        f"{count.planned_bytes:,}",
        f"{count.difference:+.2%}",
    )


def _card(card: Card) -> str:
    if card.capability is None:
        return f"{card.name}, {gib(card.free_bytes)} free"
    major, minor = card.capability
    return f"{card.name}, {gib(card.free_bytes)} free of {gib(card.total_bytes)}, {major}.{minor}"


def _row(stage: StagePlan) -> tuple[str, ...]:
    return (
        stage.component,
        stage.model,
        stage.precision,
        stage.residency,
        gib(stage.weight_bytes),
        gib(stage.peak_bytes),
        _seconds(stage.seconds),
        stage.reason,
    )


def _place(plan: MemoryPlan, component: str) -> str:
    stage = plan.of(component)
    return f"{stage.precision} {stage.residency}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"

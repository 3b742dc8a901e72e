"""What a part of the check found, and the file that keeps it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from miner.errors import MinerError

Status = Literal["ok", "failed", "skipped", "unmeasured"]
Value = float | int | str | bool | None

LINE = 200
"""Characters of an error that are shown in one line."""


class Unmeasured(Exception):
    """Nothing here can be measured on this machine, and the text says why."""


class OutOfTime(BaseException):
    """The time of the whole command is used up; no part may catch it as a failure of its own."""


@dataclass(frozen=True)
class Figure:
    """One number that was read.

    Attributes:
        name: unique in its part.
        value: None where it could not be had.
        unit: of the value, and of what it is compared with.
        planned: what the memory plan or the catalogue says.
        target: what it should be at most.
    """

    name: str
    value: Value
    unit: str = ""
    planned: float | None = None
    target: float | None = None

    def __str__(self) -> str:
        told = [f"{self.name}: {shown(self.value)} {self.unit}".rstrip()]
        if self.planned is not None:
            told.append(f"planned {shown(self.planned)}")
        if self.target is not None:
            told.append(f"target {shown(self.target)}")
        return ", ".join(told)


@dataclass
class Outcome:
    """One part of the check.

    Attributes:
        errors: a line for each thing that failed in it; tracebacks are in ``tracebacks``.
    """

    part: str
    title: str
    status: Status = "ok"
    reason: str = ""
    seconds: float = 0.0
    figures: list[Figure] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: Value,
        unit: str = "",
        *,
        planned: float | None = None,
        target: float | None = None,
    ) -> None:
        """Keeps a figure and prints it."""
        figure = Figure(name, value, unit, planned, target)
        self.figures.append(figure)
        print(f"    {figure}", flush=True)

    def fail(self, what: str, error: BaseException) -> None:
        """Keeps an error, prints its line, and goes on."""
        line = f"{what}: {one_line(error)}" if what else one_line(error)
        self.status = "failed"
        self.errors.append(line)
        self.tracebacks.append("".join(traceback.format_exception(error)))
        print(f"    failed: {line}", flush=True)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A piece of the part whose failure leaves the other pieces to be measured."""
        try:
            yield
        except Unmeasured as why:
            self.add(what, None, f"({why})")
        except Exception as error:  # whatever a library raises is what is asked for here
            self.fail(what, error)


@dataclass
class Report:
    """All of ``card.json``."""

    path: Path
    head: dict[str, Any] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    def write(self) -> None:
        """Replaces the file in one step, so that there is a whole one at any time.

        Raises:
            MinerError: the file cannot be written.
        """
        values = {**self.head, "parts": [asdict(outcome) for outcome in self.outcomes]}
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            new.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
            new.replace(self.path)
        except OSError as error:
            raise MinerError(f"{self.path}: cannot be written: {error.strerror}") from error

    def table(self) -> Iterator[str]:
        """A line for each part, and below it one for each figure."""
        for outcome in self.outcomes:
            told = (
                f"{outcome.part:<12}{outcome.status:<11}{outcome.seconds:>7.1f} s  {outcome.title}"
            )
            yield told + (f" - {outcome.reason}" if outcome.reason else "")
            for figure in outcome.figures:
                yield _row(figure)
            yield from (f"    failed: {line}" for line in outcome.errors)

    @property
    def failed(self) -> bool:
        """Whether any part did."""
        return any(outcome.status == "failed" for outcome in self.outcomes)


def one_line(error: BaseException) -> str:
    """The kind of an error and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")[:LINE]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def shown(value: Value) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "unmeasured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def _row(figure: Figure) -> str:
    told = f"    {figure.name:<46}{shown(figure.value):>12} {figure.unit:<10}"
    if figure.planned is not None:
        told += f" planned {shown(figure.planned)}"
    if figure.target is not None:
        told += f" target {shown(figure.target)}"
    return told.rstrip()

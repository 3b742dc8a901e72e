"""Telling a person how it goes: a live line on a terminal, plain lines otherwise; all on stderr.

Results go to stdout, so that they can be piped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class Reporter:
    """Progress and notes of one command.

    Args:
        console: where to; stderr when not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._task = ""

    @contextmanager
    def task(self, text: str) -> Iterator[None]:
        """While the block runs, ``text`` stands in the live line, or was printed at its start."""
        self._task = text
        if not self._console.is_terminal:
            self.note(text)
            yield
            return
        with self._console.status(_escape(text)) as self._status:
            yield
        self._status = None

    def progress(self, stage: str, done: int, total: int) -> None:
        """Shows the stage at work behind the task's text, on a terminal only."""
        if self._status is not None:
            steps = f" {done}/{total}" if total > 1 else ""
            self._status.update(_escape(f"{self._task}: {stage}{steps}"))

    def note(self, text: str) -> None:
        """One line for the person."""
        self._console.print(text, markup=False)

    def timings(self, title: str, timings: Mapping[str, float]) -> None:
        """Seconds by stage in one line, with their sum."""
        parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in timings.items())
        self.note(f"{title}: {parts}; together {sum(timings.values()):.2f} s")


def result(text: str) -> None:
    """One line of result on stdout, at once, so that a pipe's reader need not wait."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _escape(text: str) -> str:
    return text.replace("[", r"\[")

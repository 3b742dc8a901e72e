"""The tasks that gateways have given to us and that we owe a result: kept over restarts.

They are one small fact of the journal, written before a task's job is: a task that the last life
took is either in both, or only here, and then its gateway is told that it failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Protocol

import structlog

from miner.network.gateway.messages import Assignment

KEY: Final = "gateway.assignments"

log = structlog.get_logger(__name__)


class Facts(Protocol):
    """What is needed of the journal."""

    async def state(self, key: str) -> str | None:
        """A small fact by name."""

    def set_state(self, key: str, value: str) -> None:
        """Keeps one; on disk before anything that is awaited later."""


class Assignments:
    """Open tasks by their id."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._open: dict[str, Assignment] = {}  # written by this object only

    async def load(self) -> None:
        """Takes up those that earlier lives left; what cannot be read is dropped, and logged.

        Raises:
            JournalUnavailable: the disk cannot be read.
        """
        self._open = {one.task_id: one for one in _read(await self._facts.state(KEY))}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Assignment]:
        return iter(tuple(self._open.values()))

    def get(self, task_id: str) -> Assignment | None:
        """The open task of that id."""
        return self._open.get(task_id)

    def add(self, assignment: Assignment) -> None:
        """A task is ours; in the place of what was known of it before."""
        self._open[assignment.task_id] = assignment
        self._save()

    def remove(self, assignment: Assignment) -> None:
        """We owe nothing for it any more."""
        if self._open.pop(assignment.task_id, None) is not None:
            self._save()

    def _save(self) -> None:
        self._facts.set_state(KEY, json.dumps([one.dump() for one in self._open.values()]))


def _read(text: str | None) -> list[Assignment]:
    try:
        found: Any = json.loads(text or "[]")
        return [Assignment.load(one) for one in found]
    except (ValueError, TypeError, KeyError):
        log.error("gateway_assignments_unreadable", characters=len(text or ""))
        return []

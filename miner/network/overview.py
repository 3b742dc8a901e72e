"""What a live view of the daemon needs, in one answer: status, last jobs, decisions, validators.

Beyond the status it names prompts and hotkeys, so it is for the control socket, which only its
owner can open. It reads and moves nothing.
"""

from __future__ import annotations

from typing import Any

from miner.errors import UnknownRoute
from miner.network.recent import describe, permitted
from miner.network.status import status
from miner.network.view import DaemonView

JOBS = 40
DECISIONS = 10


async def overview(view: DaemonView, now: float) -> dict[str, Any]:
    """Everything in one document.

    Args:
        view: the daemon.
        now: ``time.monotonic()`` seconds.

    Returns:
        "status" as in ``status.py``; "jobs" as ``recent.describe`` has them, newest first;
        "events" of the journal, oldest first; "asked", the validators that are asked for tasks;
        "peers", those of the subnet, most stake first.
    """
    records = await view.journal.recent(JOBS)
    events = await view.journal.events(DECISIONS)
    lines = {line.id: line for line in view.queue.snapshot().jobs}
    try:
        asked = [dict(line) for line in view.validators()]
    except UnknownRoute:  # it does not pull
        asked = []
    return {
        "status": status(view, now),
        "jobs": [describe(record, lines.get(record.id)) for record in records],
        "events": [{"at": one.at, "kind": one.kind, "detail": dict(one.detail)} for one in events],
        "asked": asked,
        "peers": permitted(view),
    }

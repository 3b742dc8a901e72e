"""Jobs and outcomes to write down, and a clock to write them by."""

from __future__ import annotations

import itertools

from miner.job import Asset, Failure, Job, JobSpec
from miner.settings.daemon import JournalSettings

SETTINGS = JournalSettings()
FAILURE = Failure("worker_lost", 500, "the worker died")
_numbers = itertools.count()


class Clock:
    """Unix seconds that stand still until they are moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def a_job(prompt: str = "a red chair", **changes: object) -> Job:
    """One with an id of its own."""
    values: dict[str, object] = {
        "id": f"{next(_numbers):032x}",
        "spec": JobSpec(prompt=prompt, seed=7),
        "requester": "5Hot",
        "intake": "api",
        "deadline": 100.0,
    }
    return Job(**(values | changes))  # type: ignore[arg-type]


def an_asset(data: bytes = b"splat", generator: str = "triposr") -> Asset:
    """A small one."""
    return Asset(data, "ply", 12, generator, {"reconstruct": 0.5, "encode": 0.25})

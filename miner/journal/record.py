"""The values that the journal gives out, and how they are made of its rows.

Reads no file and knows no SQL beyond the names of columns. All times are unix seconds.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from miner.job import Format, Job, JobSpec

State = Literal["queued", "running", "done", "failed"]

RECORD_COLUMNS = (
    "id, identity, task_id, requester, intake, spec_key, prompt, seed, format, priority, promised,"
    " attempts, deadline_at, state, code, message, status, generator, gaussians, bytes, timings,"
    " score, candidates, accepted_at, begun_at, finished_at, delivered_at,"
    " asset IS NOT NULL AS kept"
)
"""Of the table ``jobs``, in the order of ``Record``; never the picture, which may be large."""

JOB_COLUMNS = (
    "id, prompt, image, seed, format, requester, intake, priority, promised, task_id, attempts,"
    " deadline_at, identity"
)


@dataclass(frozen=True)
class Record:
    """What is known of one job.

    Attributes:
        id, identity, task_id, requester, intake, priority, promised, attempts: as in ``Job``.
        spec_key, prompt, seed, format: of its ``JobSpec``; ``prompt`` is None for a picture.
        deadline_at: unix seconds.
        state: "queued" and "running" have no outcome yet.
        code, message, status: of the failure, where it failed.
        generator, gaussians, bytes, timings: of the asset, where it is done; seconds by stage.
        score, candidates: of the asset, as in ``Asset``; None for one of before they were kept.
        accepted_at, begun_at, finished_at, delivered_at: unix seconds.
        kept: whether the asset is still there.
    """

    id: str
    identity: str
    task_id: str | None
    requester: str
    intake: str
    spec_key: str
    prompt: str | None
    seed: int
    format: Format
    priority: float
    promised: bool
    attempts: int
    deadline_at: float
    state: State
    code: str | None
    message: str | None
    status: int | None
    generator: str | None
    gaussians: int | None
    bytes: int | None
    timings: Mapping[str, float]
    score: float | None
    candidates: int | None
    accepted_at: float
    begun_at: float | None
    finished_at: float | None
    delivered_at: float | None
    kept: bool

    @classmethod
    def of(cls, row: sqlite3.Row) -> Record:
        """The record in a row of ``RECORD_COLUMNS``."""
        values = dict(row)
        timings = values.pop("timings")
        values["promised"], values["kept"] = bool(row["promised"]), bool(row["kept"])
        return cls(timings=json.loads(timings) if timings else {}, **values)


def job_of(row: sqlite3.Row) -> tuple[Job, float]:
    """The job in a row of ``JOB_COLUMNS`` and its deadline in unix seconds.

    The monotonic clock of another life means nothing: the job's own deadline is infinite.
    """
    spec = JobSpec(row["prompt"], row["image"], row["seed"], row["format"])
    job = Job(
        row["id"],
        spec,
        row["requester"],
        row["intake"],
        deadline=math.inf,
        priority=row["priority"],
        promised=bool(row["promised"]),
        task_id=row["task_id"],
        attempts=row["attempts"],
        identity=row["identity"],
    )
    return job, row["deadline_at"]


@dataclass(frozen=True)
class SweepReport:
    """What one sweep forgot: results (with their bytes), records of jobs, and log entries."""

    results: int = 0
    result_bytes: int = 0
    jobs: int = 0
    events: int = 0

    def plus(self, other: SweepReport) -> SweepReport:
        """Both together."""
        return SweepReport(
            self.results + other.results,
            self.result_bytes + other.result_bytes,
            self.jobs + other.jobs,
            self.events + other.events,
        )


@dataclass(frozen=True)
class JournalStats:
    """How large the journal is and how it is doing.

    Attributes:
        file_bytes: of the database and its write-ahead log.
        jobs, unfinished: records in all, and those without an outcome.
        results, result_bytes: kept assets; equal ones count once.
        commits, operations: since it was opened; a commit holds what was pending together.
        commit_seconds: what the last commit took.
        waiting: operations not taken up yet.
        kept: operations that a failing disk refused and that are tried again.
        lost: operations given up because too many were kept, or because they could never succeed.
        failed: why the last commit failed; None while all is well.
    """

    file_bytes: int
    jobs: int
    unfinished: int
    results: int
    result_bytes: int
    commits: int
    operations: int
    commit_seconds: float
    waiting: int
    kept: int
    lost: int
    failed: str | None

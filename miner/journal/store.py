"""What the journal does to its tables, as plain functions of one connection.

Knows no thread, transaction or event loop: ``writer.py`` calls these, many in one transaction, and
rolls back what failed. Times are unix seconds and come from the caller.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import NamedTuple

from miner.errors import KnownTask
from miner.job import Asset, Failure, Job, Outcome
from miner.journal.record import JOB_COLUMNS, RECORD_COLUMNS, Record, job_of

ACCEPT = (
    "INSERT INTO jobs (id, identity, task_id, requester, intake, spec_key, prompt, seed, format,"
    " priority, promised, attempts, deadline_at, state, accepted_at, image)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?) ON CONFLICT DO NOTHING"
)
FAIL = (
    "UPDATE jobs SET state = 'failed', code = ?, message = ?, status = ?, finished_at = ?,"
    " image = NULL WHERE id = ? AND finished_at IS NULL"
)
DONE = (
    "UPDATE jobs SET state = 'done', generator = ?, gaussians = ?, bytes = ?, timings = ?,"
    " score = ?, candidates = ?, asset = ?, finished_at = ?, image = NULL WHERE id = ?"
)


class Totals(NamedTuple):
    """Counts kept beside the tables, so that nobody need count rows to show them."""

    jobs: int = 0
    unfinished: int = 0
    results: int = 0
    result_bytes: int = 0

    def plus(
        self, jobs: int = 0, unfinished: int = 0, results: int = 0, result_bytes: int = 0
    ) -> Totals:
        """With these added."""
        return Totals(
            self.jobs + jobs,
            self.unfinished + unfinished,
            self.results + results,
            self.result_bytes + result_bytes,
        )


class Store:
    """The tables behind one connection.

    Attributes:
        totals: of the rows as they are; whoever rolls back puts the earlier value back.
    """

    def __init__(self, connection: sqlite3.Connection, max_result_bytes: int) -> None:
        self.connection = connection
        self._max_result_bytes = max_result_bytes
        self.totals = Totals(
            *connection.execute(
                "SELECT (SELECT count(*) FROM jobs),"
                " (SELECT count(*) FROM jobs WHERE finished_at IS NULL),"
                " (SELECT count(*) FROM assets), (SELECT coalesce(sum(bytes), 0) FROM assets)"
            ).fetchone()
        )

    # Jobs

    def accept(self, job: Job, spec_key: str, deadline_at: float, now: float) -> None:
        """Adds a job.

        Raises:
            KnownTask: another record of its identity has its task id.
        """
        spec = job.spec
        values = (
            *(job.id, job.identity, job.task_id, job.requester, job.intake, spec_key),
            *(spec.prompt, spec.seed, spec.format, job.priority, job.promised, job.attempts),
            *(deadline_at, now, spec.image),
        )
        if not self.connection.execute(ACCEPT, values).rowcount:
            raise KnownTask(f"the task {job.task_id or job.id} is known already")
        self.totals = self.totals.plus(jobs=1, unfinished=1)

    def begin(self, job_id: str, attempts: int, now: float) -> None:
        """Notes that an attempt began."""
        self.connection.execute(
            "UPDATE jobs SET state = 'running', attempts = ?, begun_at = ?"
            " WHERE id = ? AND finished_at IS NULL",
            (attempts, now, job_id),
        )

    def put_back(self, job_id: str, attempts: int) -> None:
        """Notes that it waits again."""
        self.connection.execute(
            "UPDATE jobs SET state = 'queued', attempts = ? WHERE id = ? AND finished_at IS NULL",
            (attempts, job_id),
        )

    def finish(self, job_id: str, outcome: Outcome, now: float) -> bool:
        """Writes the outcome, if there is none yet; False where nothing changed."""
        if isinstance(outcome, Failure):
            values = (outcome.code, outcome.message, outcome.status, now, job_id)
            changed = bool(self.connection.execute(FAIL, values).rowcount)
        else:
            changed = self._done(job_id, outcome, now)
        if changed:
            self.totals = self.totals.plus(unfinished=-1)
        return changed

    def _done(self, job_id: str, asset: Asset, now: float) -> bool:
        row = self.connection.execute(
            "SELECT finished_at FROM jobs WHERE id = ?", (job_id,)
        ).fetchone()
        if row is None or row["finished_at"] is not None:
            return False
        digest = self._keep(asset, now)
        size = len(asset.data)
        timings = json.dumps(dict(asset.timings))
        self.connection.execute(
            DONE,
            (
                *(asset.generator, asset.gaussians, size, timings, asset.score, asset.candidates),
                *(digest, now, job_id),
            ),
        )
        self._make_room(digest)
        return True

    def deliver(self, job_id: str, now: float) -> None:
        """Notes that the requester has the outcome; the first time counts."""
        self.connection.execute(
            "UPDATE jobs SET delivered_at = ?"
            " WHERE id = ? AND finished_at IS NOT NULL AND delivered_at IS NULL",
            (now, job_id),
        )

    def find(self, job_id: str) -> Record | None:
        """By our id."""
        return self._record("id = ?", job_id)

    def find_task(self, identity: str, task_id: str) -> Record | None:
        """By the validator's id, among the jobs of an identity."""
        return self._record("identity = ? AND task_id = ?", identity, task_id)

    def find_result(self, identity: str, requester: str, spec_key: str) -> Record | None:
        """The newest kept result of an equal spec that the same requester asked of an identity."""
        where = "spec_key = ? AND requester = ? AND identity = ? AND asset IS NOT NULL"
        order = "ORDER BY finished_at DESC LIMIT 1"
        return self._record(f"{where} {order}", spec_key, requester, identity)

    def recent(self, limit: int) -> list[Record]:
        """Those accepted last, newest first."""
        sql = f"SELECT {RECORD_COLUMNS} FROM jobs ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - our own constants
        return [Record.of(row) for row in self.connection.execute(sql, (limit,))]

    def unfinished(self) -> list[tuple[Job, float]]:
        """Accepted and without outcome, oldest first, with their deadlines in unix seconds."""
        rows = self.connection.execute(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE finished_at IS NULL ORDER BY sequence"  # noqa: S608 - our own constant
        )
        return [job_of(row) for row in rows]

    def _record(self, where: str, *values: str) -> Record | None:
        sql = f"SELECT {RECORD_COLUMNS} FROM jobs WHERE {where}"  # noqa: S608 - our own constants
        row = self.connection.execute(sql, values).fetchone()
        return None if row is None else Record.of(row)

    # Assets

    def asset(self, job_id: str) -> Asset | None:
        """A job's result, while it is kept."""
        row = self.connection.execute(
            "SELECT a.data, a.format, a.gaussians, j.generator, j.timings, j.score, j.candidates"
            " FROM jobs AS j JOIN assets AS a ON a.digest = j.asset WHERE j.id = ?",
            (job_id,),
        ).fetchone()
        if row is None:
            return None
        return Asset(
            data=row["data"],
            format=row["format"],
            gaussians=row["gaussians"],
            generator=row["generator"],
            timings=json.loads(row["timings"]),
            score=row["score"],
            candidates=row["candidates"] or 1,
        )

    def _keep(self, asset: Asset, now: float) -> str:
        """Puts the bytes there once, however many jobs they answer, and returns their digest."""
        digest, size = digest_of(asset), len(asset.data)
        known = self.connection.execute(
            "UPDATE assets SET stored_at = max(stored_at, ?) WHERE digest = ?", (now, digest)
        ).rowcount
        if not known:
            self.connection.execute(
                "INSERT INTO assets (digest, stored_at, bytes, gaussians, format, data)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (digest, now, size, asset.gaussians, asset.format, asset.data),
            )
            self.totals = self.totals.plus(results=1, result_bytes=size)
        return digest

    def _make_room(self, newest: str) -> None:
        """Forgets the oldest results until the rest fits; the newest stays whatever its size."""
        while self.totals.result_bytes > self._max_result_bytes and self.totals.results > 1:
            row = self.connection.execute(
                "SELECT digest FROM assets WHERE digest != ? ORDER BY stored_at LIMIT 1", (newest,)
            ).fetchone()
            self.forget_asset(row["digest"])

    def forget_asset(self, digest: str) -> int:
        """Drops a result from its jobs, which stay done, and returns its bytes."""
        self.connection.execute("UPDATE jobs SET asset = NULL WHERE asset = ?", (digest,))
        size = self.connection.execute(
            "DELETE FROM assets WHERE digest = ? RETURNING bytes", (digest,)
        ).fetchone()["bytes"]
        self.totals = self.totals.plus(results=-1, result_bytes=-size)
        return int(size)


def digest_of(asset: Asset) -> str:
    """Hex digest of the bytes and what belongs to them; the name of an asset in the file."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(f"{asset.format}:{asset.gaussians}:".encode())
    digest.update(asset.data)
    return digest.hexdigest()

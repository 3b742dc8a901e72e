"""Looks a journal through: SQLite's own check, then what must hold among our rows.

Reads only, so it is safe beside a running daemon and changes nothing on a damaged file.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from miner.errors import JournalError
from miner.job import Asset
from miner.journal.schema import open_read_only
from miner.journal.store import digest_of

MAX_FAULTS = 100
"""More are not told: the file is beyond them."""


@dataclass(frozen=True)
class CheckReport:
    """What a journal holds, and what is wrong with it.

    Attributes:
        jobs: how many in each state.
        overdue: jobs without outcome whose deadline has passed; the next start settles them.
        results, result_bytes: kept assets.
        nonces, facts, events: rows of each.
        faults: one line each; none means that all is well.
    """

    jobs: dict[str, int]
    overdue: int
    results: int
    result_bytes: int
    nonces: int
    facts: int
    events: int
    faults: tuple[str, ...]


def check_journal(folder: Path, now: float) -> CheckReport:
    """Looks at everything, the bytes of every result included.

    Args:
        folder: the state folder.
        now: unix seconds.

    Raises:
        JournalError: there is no journal, or it is too damaged to be read.
    """
    with closing(open_read_only(folder)) as connection:
        try:
            connection.execute("BEGIN")
            faults = tuple(itertools.islice(_faults(connection), MAX_FAULTS))
            return _report(connection, now, faults)
        except sqlite3.Error as error:
            raise JournalError(f"the journal in {folder} is damaged: {error}") from error


def quick_check(folder: Path) -> tuple[int, tuple[str, ...]]:
    """The schema's version and what SQLite's quick check finds; results are not looked into.

    Raises:
        JournalError: as ``check_journal``.
    """
    with closing(open_read_only(folder)) as connection:
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            rows = connection.execute(f"PRAGMA quick_check({MAX_FAULTS})").fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"the journal in {folder} is damaged: {error}") from error
    return version, tuple(" ".join(str(row[0]).split()) for row in rows if row[0] != "ok")


def _report(connection: sqlite3.Connection, now: float, faults: tuple[str, ...]) -> CheckReport:
    def count(sql: str, *values: object) -> int:
        return int(connection.execute(sql, values).fetchone()[0])

    states = connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
    overdue = "SELECT count(*) FROM jobs WHERE finished_at IS NULL AND deadline_at <= ?"
    return CheckReport(
        jobs=dict.fromkeys(("queued", "running", "done", "failed"), 0) | dict(map(tuple, states)),
        overdue=count(overdue, now),
        results=count("SELECT count(*) FROM assets"),
        result_bytes=count("SELECT coalesce(sum(bytes), 0) FROM assets"),
        nonces=count("SELECT count(*) FROM nonces"),
        facts=count("SELECT count(*) FROM facts"),
        events=count("SELECT count(*) FROM events"),
        faults=faults,
    )


def _faults(connection: sqlite3.Connection) -> Iterator[str]:
    for (found,) in connection.execute(f"PRAGMA integrity_check({MAX_FAULTS})"):
        if found != "ok":
            yield " ".join(str(found).split())
    for row in connection.execute("PRAGMA foreign_key_check"):
        yield f"row {row['rowid']} of {row['table']} points to a row of {row['parent']} not there"
    yield from _faults_of_jobs(connection)
    yield from _faults_of_assets(connection)


def _faults_of_jobs(connection: sqlite3.Connection) -> Iterator[str]:
    rules = {
        "has neither a prompt nor a picture, and no outcome": (
            "finished_at IS NULL AND (prompt IS NULL) = (image IS NULL)"
        ),
        "is done without what an asset says of itself": (
            "state = 'done' AND (gaussians IS NULL OR bytes IS NULL OR timings IS NULL)"
        ),
        "is failed without a message or status": (
            "state = 'failed' AND (message IS NULL OR status IS NULL)"
        ),
        "was delivered without an outcome": "delivered_at IS NOT NULL AND finished_at IS NULL",
        "has timings that are not JSON": "timings IS NOT NULL AND NOT json_valid(timings)",
    }
    for fault, where in rules.items():
        for row in connection.execute(f"SELECT id FROM jobs WHERE {where}"):  # noqa: S608 - our own rules
            yield f"job {row['id']} {fault}"


def _faults_of_assets(connection: sqlite3.Connection) -> Iterator[str]:
    orphans = (
        "SELECT digest FROM assets WHERE digest NOT IN"
        " (SELECT asset FROM jobs WHERE asset IS NOT NULL)"
    )
    for row in connection.execute(orphans):
        yield f"asset {row['digest']} answers no job"
    for row in connection.execute("SELECT digest, bytes, gaussians, format, data FROM assets"):
        asset = Asset(row["data"], row["format"], row["gaussians"], "", {})
        if digest_of(asset) != row["digest"] or len(asset.data) != row["bytes"]:
            yield f"asset {row['digest']} is not what was written"

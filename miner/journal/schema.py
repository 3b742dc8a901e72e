"""The journal's file: its tables, how a connection to it is set up, what is refused on opening.

One connection writes and checkpoints, and no other ever does: the SQLite of common distributions
(up to 3.51.2) can damage a write-ahead log when two connections do so at once. Others read only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from miner.errors import JournalError

NAME = "journal.db"
SCHEMA_VERSION = 3
APPLICATION_ID = 0x53504C4A
"""In the file's header, so that another program's database is not taken for a journal."""

PAGE_BYTES = 16_384
"""Results of a megabyte are written about three times as fast as with 4096, and rows no slower."""

QUICK_CHECK_BYTES = 64 * 1024 * 1024
"""A file up to this size is looked through on every start; larger ones take too long for that."""

JOBS = """
CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL DEFAULT 'main',
    task_id TEXT,
    requester TEXT NOT NULL,
    intake TEXT NOT NULL,
    spec_key TEXT NOT NULL,
    prompt TEXT,
    seed INTEGER NOT NULL,
    format TEXT NOT NULL,
    priority REAL NOT NULL,
    promised INTEGER NOT NULL CHECK (promised IN (0, 1)),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    deadline_at REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    code TEXT,
    message TEXT,
    status INTEGER,
    generator TEXT,
    gaussians INTEGER,
    bytes INTEGER,
    timings TEXT,
    score REAL,
    candidates INTEGER,
    accepted_at REAL NOT NULL,
    begun_at REAL,
    finished_at REAL,
    delivered_at REAL,
    asset TEXT REFERENCES assets (digest),
    image BLOB,
    CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'failed'))),
    CHECK ((code IS NOT NULL) = (state = 'failed')),
    CHECK ((generator IS NOT NULL) = (state = 'done')),
    CHECK (asset IS NULL OR state = 'done')
) STRICT;
CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE finished_at IS NULL;
CREATE INDEX jobs_by_age ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_asset ON jobs (asset) WHERE asset IS NOT NULL;
CREATE INDEX jobs_by_spec ON jobs (spec_key, requester) WHERE asset IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_task ON jobs (identity, task_id);
"""
"""Validators give the same task, under one id, to several of our identities."""

TABLES = f"""
CREATE TABLE assets (
    digest TEXT PRIMARY KEY,
    stored_at REAL NOT NULL,
    bytes INTEGER NOT NULL,
    gaussians INTEGER NOT NULL,
    format TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX assets_by_age ON assets (stored_at);
{JOBS}
CREATE TABLE nonces (
    key TEXT PRIMARY KEY,
    nonce INTEGER NOT NULL,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_age ON events (at);
"""

COLUMNS_2 = (
    "sequence, id, task_id, requester, intake, spec_key, prompt, seed, format, priority, promised,"
    " attempts, deadline_at, state, code, message, status, generator, gaussians, bytes, timings,"
    " score, candidates, accepted_at, begun_at, finished_at, delivered_at, asset, image"
)
"""Of the table ``jobs`` in version 2."""

MIGRATIONS = {
    1: "ALTER TABLE jobs ADD COLUMN score REAL; ALTER TABLE jobs ADD COLUMN candidates INTEGER;",
    # A column's own UNIQUE cannot be taken away: the table is made anew.
    2: (
        "ALTER TABLE jobs RENAME TO jobs_2; DROP INDEX jobs_unfinished; DROP INDEX jobs_by_age;"  # noqa: S608 - our own constants
        f" DROP INDEX jobs_by_asset; DROP INDEX jobs_by_spec; {JOBS}"
        f" INSERT INTO jobs ({COLUMNS_2}) SELECT {COLUMNS_2} FROM jobs_2; DROP TABLE jobs_2;"
    ),
}
"""What makes the next version of each. Columns are named wherever they are read or written: those
that were added stand at the end of an old file and in their place in a new one."""

ADDED_COLUMNS: dict[int, dict[str, tuple[str, ...]]] = {
    1: {"jobs": ("score", "candidates")},
    2: {"jobs": ("identity",)},
}
"""By table, what the version after each has and it has not."""


def open_database(folder: Path) -> sqlite3.Connection:
    """The one connection that writes; the caller holds the folder's lock and is its only thread.

    Raises:
        JournalError: the file is damaged, another program's, of a newer version, or not writable.
    """
    path = folder / NAME
    with _translated(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # prompts are private
        connection = sqlite3.connect(
            path, isolation_level=None, timeout=5.0, cached_statements=256, check_same_thread=False
        )
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_read_only(folder: Path) -> sqlite3.Connection:
    """A connection that cannot write or checkpoint, safe beside a running daemon.

    Raises:
        JournalError: there is no journal, or it is not one that this program can read.
    """
    path = folder / NAME
    if not path.is_file():
        raise JournalError(f"there is no journal at {path}")
    with _translated(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            connection.row_factory = sqlite3.Row
            connection.isolation_level = None
            if _version(connection, path) == 0:
                raise JournalError(f"{path} is empty")
        except BaseException:
            connection.close()
            raise
        return connection


def is_disk_error(error: BaseException) -> bool:
    """Whether the file or disk is at fault, and not the one operation that failed."""
    alone = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, alone)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.row_factory = sqlite3.Row
    version = _version(connection, path)
    if version and path.stat().st_size <= QUICK_CHECK_BYTES:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise JournalError(f"{path} is damaged: {' '.join(found.split())}")
    if not version:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise JournalError(f"{path}: its file system has no write-ahead logging")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 1000")  # pages: some results, not every one
    connection.execute(f"PRAGMA journal_size_limit = {QUICK_CHECK_BYTES}")
    if not version:
        connection.executescript(
            f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    elif version < SCHEMA_VERSION:
        steps = " ".join(MIGRATIONS[old] for old in range(version, SCHEMA_VERSION))
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version; 0 for a new file."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION_ID and (version or tables):
        raise JournalError(f"{path} is a database, and not a journal of this program")
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} is of version {version}, and this program knows {SCHEMA_VERSION}: "
            "it was written by a newer one"
        )
    return version


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be used: {error}") from error
    except OSError as error:
        raise JournalError(f"cannot open {path}: {error.strerror}") from error

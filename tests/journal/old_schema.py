"""A journal's tables as version 2 had them, for files that an earlier program left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from miner.journal.schema import APPLICATION_ID, NAME

ADDED_IN_2 = ("score", "candidates")

TABLES_2 = """
CREATE TABLE assets (
    digest TEXT PRIMARY KEY,
    stored_at REAL NOT NULL,
    bytes INTEGER NOT NULL,
    gaussians INTEGER NOT NULL,
    format TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX assets_by_age ON assets (stored_at);

CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    task_id TEXT UNIQUE,
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


def make_old_journal(folder: Path, version: int) -> None:
    """An empty journal of version 1 or 2."""
    tables = TABLES_2
    if version == 1:
        for column in ADDED_IN_2:
            tables = "\n".join(
                line for line in tables.splitlines() if not line.strip().startswith(f"{column} ")
            )
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as connection:
        connection.executescript(
            f"BEGIN; {tables} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {version}; COMMIT;"
        )

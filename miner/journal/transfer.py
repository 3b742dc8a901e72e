"""The journal as one file of JSON lines, and back again.

A header, one line for each row, and a last line that counts them all: a file that was cut short, or
changed, is refused before anything is written. A name ending in ``.gz`` or ``.zst`` is compressed.
Bytes are base64. Reading in is one transaction: all of it, or nothing. Rows that are there already
and equal are passed over, so that the same file may be read twice; a row that differs from one that
is there stops the whole, since one of the two would be lost.

Limit: a file cannot know whether the journal it came from is still in use. Two daemons that go on
from one export would both do the jobs without outcome in it.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import zstandard

from miner.errors import JournalError
from miner.files import make_folder, replacing
from miner.journal.lock import FolderLock
from miner.journal.schema import (
    ADDED_COLUMNS,
    SCHEMA_VERSION,
    open_database,
    open_read_only,
)

FORMAT = "miner-journal"
TABLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "assets": ("asset", ("digest",)),
    "jobs": ("job", ("id",)),
    "nonces": ("nonce", ("key",)),
    "facts": ("fact", ("key",)),
    "events": ("event", ("at", "kind", "detail")),
}
"""Tables in the order in which they are written (jobs point to assets), what a line of each is
called, and the columns by which rows of two journals are the same."""

MAX_LINE_CHARACTERS = 1 << 30
BYTES_KEY = "base64"

Counts = dict[str, int]


def export_journal(folder: Path, target: Path, now: float | None = None) -> Counts:
    """Writes everything to ``target``, whole or not at all; safe beside a running daemon.

    Args:
        folder: the state folder.
        target: the file; its suffix chooses the compression.
        now: unix seconds, for the header; the present when not given.

    Returns:
        How many rows of each table.

    Raises:
        JournalError: there is no journal, or it cannot be read.
        OutputError: the file cannot be written.
    """
    with closing(open_read_only(folder)) as connection, replacing(target) as partial:
        try:
            with _writing(partial) as lines:
                return _write(connection, lines, time.time() if now is None else now)
        except sqlite3.Error as error:
            raise JournalError(f"the journal in {folder} cannot be read: {error}") from error


def import_journal(folder: Path, source: Path) -> tuple[Counts, Counts]:
    """Reads a file of ``export_journal`` into the journal of ``folder``, which is made if missing.

    Returns:
        How many rows of each table were added, and how many were there already.

    Raises:
        JournalError: a daemon holds the journal; the file is unreadable, cut short, changed or of
            a newer version; or one of its rows contradicts one that is there. Nothing is changed.
        OutputError: the folder cannot be made.
    """
    expected = _verified(source)
    make_folder(folder)
    lock = FolderLock(folder)
    try:
        with closing(open_database(folder)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                added, known = _read_in(connection, source, expected)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise JournalError(f"{source} cannot be read in: {error}") from error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return added, known
    finally:
        lock.release()


# Writing


def _write(connection: sqlite3.Connection, lines: IO[str], now: float) -> Counts:
    connection.execute("BEGIN")  # one moment of the journal, whatever is written meanwhile
    digest = 0
    counts: Counts = {}

    def put(line: Mapping[str, Any]) -> None:
        nonlocal digest
        text = json.dumps(line, ensure_ascii=True, separators=(",", ":"))
        digest = zlib.crc32(text.encode(), digest)
        lines.write(text + "\n")

    version = connection.execute("PRAGMA user_version").fetchone()[0]  # an older one, perhaps
    put({"kind": "header", "format": FORMAT, "schema": version, "written_at": now})
    for table, (kind, _) in TABLES.items():
        counts[table] = 0
        columns = [name for name in _columns(connection, table) if name != "sequence"]
        sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1"  # noqa: S608 - our own names
        if table in ("jobs", "events"):
            sql = sql.replace("ORDER BY 1", "ORDER BY sequence")  # arrival is part of the record
        for row in connection.execute(sql):
            put({"kind": kind, "row": {name: _encoded(row[name]) for name in columns}})
            counts[table] += 1
    put({"kind": "end", "counts": counts, "crc32": digest})
    return counts


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]


def _encoded(value: Any) -> Any:
    return {BYTES_KEY: base64.b64encode(value).decode()} if isinstance(value, bytes) else value


# Reading


def _verified(source: Path) -> Counts:
    """Reads the whole file once, and returns the counts that its last line gives."""
    digest, seen, header, end = 0, dict.fromkeys(TABLES, 0), None, None
    for number, text in _lines(source):
        line = _parsed(text, source, number)
        kind = line.get("kind")
        if end is not None or (number == 1) != (kind == "header"):
            raise JournalError(f"{source}, line {number}: {kind!r} is not in its place")
        if kind == "header":
            header = line
            _check_header(line, source)
        elif kind == "end":
            end = line
            continue
        else:
            seen[_table(kind, source, number)] += 1
        digest = zlib.crc32(text.encode(), digest)
    if header is None or end is None:
        raise JournalError(f"{source} is cut short: its last line is missing")
    if end.get("counts") != seen or end.get("crc32") != digest:
        raise JournalError(f"{source} was changed or damaged: it is not what its last line says")
    return seen


def _check_header(line: Mapping[str, Any], source: Path) -> None:
    if line.get("format") != FORMAT or not isinstance(line.get("schema"), int):
        raise JournalError(f"{source} is not an exported journal")
    if not 1 <= line["schema"] <= SCHEMA_VERSION:
        raise JournalError(
            f"{source} is of version {line['schema']}, and this program knows {SCHEMA_VERSION}"
        )


def _lacks(version: int, table: str) -> set[str]:
    """Columns that rows of this version do not have: they stay empty."""
    later = range(version, SCHEMA_VERSION)
    return {name for old in later for name in ADDED_COLUMNS[old].get(table, ())}


def _table(kind: object, source: Path, number: int) -> str:
    for table, (name, _) in TABLES.items():
        if name == kind:
            return table
    raise JournalError(f"{source}, line {number}: {kind!r} is nothing that a journal holds")


def _read_in(
    connection: sqlite3.Connection, source: Path, expected: Counts
) -> tuple[Counts, Counts]:
    added, known = dict.fromkeys(TABLES, 0), dict.fromkeys(TABLES, 0)
    columns = {table: {*_columns(connection, table)} - {"sequence"} for table in TABLES}
    last_event = connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0]
    for number, text in _lines(source):
        line = _parsed(text, source, number)
        if line["kind"] == "header":
            columns = {t: names - _lacks(line["schema"], t) for t, names in columns.items()}
        if line["kind"] in ("header", "end"):
            continue
        table, fields = _table(line["kind"], source, number), line.get("row")
        if not isinstance(fields, dict) or set(fields) != columns[table]:
            raise JournalError(f"{source}, line {number}: its fields are not those of {table}")
        row = {name: _decoded(value, source, number) for name, value in fields.items()}
        # Two equal events may be two; only what was there before counts as there already.
        limit = f" AND sequence <= {last_event}" if table == "events" else ""
        if _known(connection, table, row, source, limit):
            known[table] += 1
        else:
            _insert(connection, table, row, source, number)
            added[table] += 1
    if any(added[table] + known[table] != expected[table] for table in TABLES):
        raise JournalError(f"{source} changed while it was read")
    return added, known


def _known(
    connection: sqlite3.Connection, table: str, row: Mapping[str, Any], source: Path, limit: str
) -> bool:
    """Whether an equal row is there.

    Raises:
        JournalError: a row of the same key is there and differs.
    """
    keys = TABLES[table][1]
    where = " AND ".join(f"{key} IS ?" for key in keys) + limit
    there = connection.execute(
        f"SELECT * FROM {table} WHERE {where}",  # noqa: S608 - our own names
        [row[key] for key in keys],
    ).fetchone()
    if there is None:
        return False
    different = [name for name, value in row.items() if there[name] != value]
    if different:
        name = " ".join(str(row[key]) for key in keys)
        raise JournalError(
            f"{source} contradicts the journal: {TABLES[table][0]} {name} differs in "
            f"{', '.join(different)}; nothing was read in"
        )
    return True


def _insert(
    connection: sqlite3.Connection, table: str, row: Mapping[str, Any], source: Path, number: int
) -> None:
    sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - names compared with the table's
    try:
        connection.execute(sql, list(row.values()))
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError) as error:
        raise JournalError(f"{source}, line {number}: {error}; nothing was read in") from error


def _decoded(value: Any, source: Path, number: int) -> Any:
    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value[BYTES_KEY], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"{source}, line {number}: bytes that are not base64") from error


def _parsed(text: str, source: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JournalError(f"{source}, line {number}: not JSON") from error
    if not isinstance(line, dict):
        raise JournalError(f"{source}, line {number}: not an object")
    return line


# Files


def _lines(source: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; one that never ends is refused, not read."""
    try:
        with _opened(source) as lines:
            number = 0
            while text := lines.readline(MAX_LINE_CHARACTERS):
                number += 1
                if not text.endswith("\n"):
                    raise JournalError(f"{source} is cut short in line {number}")
                yield number, text[:-1]
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeDecodeError) as error:
        raise JournalError(f"{source} cannot be read: {error}") from error


def _opened(source: Path) -> IO[str]:
    return _text(source, "r", {".gz": gzip.open, ".zst": zstandard.open})


@contextmanager
def _writing(path: Path) -> Iterator[IO[str]]:
    with _text(path, "w", {".gz": gzip.open, ".zst": zstandard.open}) as lines:
        yield lines


def _text(path: Path, mode: str, openers: Mapping[str, Callable[..., Any]]) -> IO[str]:
    opener = openers.get(path.suffix)
    if opener is None:
        return path.open(mode, encoding="ascii", newline="\n")
    raw = opener(path, f"{mode}b")
    return io.TextIOWrapper(raw, encoding="ascii", newline="\n")

"""What the journal keeps beside the jobs: nonces, small facts, and the log of decisions.

Plain functions of one connection, like ``store.py``. Times are unix seconds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One decision: when (unix seconds), of what kind, and its particulars."""

    at: float
    kind: str
    detail: Mapping[str, Any]


def remember_nonce(connection: sqlite3.Connection, key: str, nonce: int, expires_at: float) -> None:
    """Keeps the highest nonce of a key, and the latest time at which it expires."""
    connection.execute(
        "INSERT INTO nonces (key, nonce, expires_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
        " nonce = max(nonce, excluded.nonce), expires_at = max(expires_at, excluded.expires_at)",
        (key, nonce, expires_at),
    )


def nonces(connection: sqlite3.Connection) -> list[tuple[str, int, float]]:
    """Everything remembered."""
    rows = connection.execute("SELECT key, nonce, expires_at FROM nonces").fetchall()
    return [(key, nonce, expires_at) for key, nonce, expires_at in rows]


def forget_nonces(connection: sqlite3.Connection, before: float) -> None:
    """Forgets what expired before ``before``."""
    connection.execute("DELETE FROM nonces WHERE expires_at < ?", (before,))


def fact(connection: sqlite3.Connection, key: str) -> str | None:
    """A small fact by name."""
    row = connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def set_fact(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Keeps a small fact, in the place of the earlier one."""
    connection.execute(
        "INSERT INTO facts (key, value) VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET value = excluded.value",
        (key, value),
    )


def add_event(connection: sqlite3.Connection, at: float, kind: str, detail: str) -> None:
    """Appends to the log; ``detail`` is a JSON object."""
    connection.execute("INSERT INTO events (at, kind, detail) VALUES (?, ?, ?)", (at, kind, detail))


def events(connection: sqlite3.Connection, limit: int, kind: str | None = None) -> list[Event]:
    """The last entries of the log, or of those of one kind, oldest first."""
    rows = connection.execute(
        "SELECT at, kind, detail FROM events WHERE kind = coalesce(?, kind)"
        " ORDER BY sequence DESC LIMIT ?",
        (kind, limit),
    ).fetchall()
    return [Event(at, kind, json.loads(detail)) for at, kind, detail in reversed(rows)]

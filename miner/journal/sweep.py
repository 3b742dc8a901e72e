"""Forgetting by age, in bites small enough that nobody waits long behind one.

Plain functions of the store. Times are unix seconds.
"""

from __future__ import annotations

from miner.journal.record import SweepReport
from miner.journal.store import Store
from miner.settings.daemon import JournalSettings

MAX_RESULTS = 32
"""Forgotten in one bite: deleting megabytes takes milliseconds."""

MAX_ROWS = 2000
PULLED = "pull"
"""The intake whose results have no reader until they are brought, which may take long."""
FREE_PAGES = 2048
"""Free pages that stay in the file for what comes next (32 MiB); the rest is given back."""


def sweep_some(store: Store, settings: JournalSettings, now: float) -> SweepReport:
    """One bite of everything that has expired; an empty report means that nothing is left."""
    results, result_bytes = _forget_results(store, settings, now)
    jobs = _forget_jobs(store, now - settings.keep_jobs_seconds)
    events = store.connection.execute(
        "DELETE FROM events WHERE sequence IN (SELECT sequence FROM events WHERE at <= ? LIMIT ?)",
        (now - settings.keep_jobs_seconds, MAX_ROWS),
    ).rowcount
    return SweepReport(results, result_bytes, jobs, events)


def give_back(store: Store) -> None:
    """Shrinks the file by some of its free pages; what is left goes another time."""
    free = store.connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free > FREE_PAGES:
        pages = min(free - FREE_PAGES, FREE_PAGES)
        store.connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()


def _forget_results(store: Store, settings: JournalSettings, now: float) -> tuple[int, int]:
    """A result goes when it has expired for every job that it answers."""
    rows = store.connection.execute(
        "SELECT asset FROM jobs WHERE asset IS NOT NULL GROUP BY asset"
        " HAVING max(CASE WHEN delivered_at IS NOT NULL THEN delivered_at + ?"
        " WHEN intake = ? THEN finished_at + ? ELSE finished_at + ? END) <= ? LIMIT ?",
        (
            settings.keep_delivered_seconds,
            *(PULLED, settings.keep_pulled_seconds),
            *(settings.keep_results_seconds, now, MAX_RESULTS),
        ),
    ).fetchall()
    return len(rows), sum(store.forget_asset(row["asset"]) for row in rows)


def _forget_jobs(store: Store, before: float) -> int:
    """Records without an asset go by age; those without an outcome stay."""
    count = store.connection.execute(
        "DELETE FROM jobs WHERE sequence IN (SELECT sequence FROM jobs"
        " WHERE finished_at <= ? AND asset IS NULL LIMIT ?)",
        (before, MAX_ROWS),
    ).rowcount
    store.totals = store.totals.plus(jobs=-count)
    return count

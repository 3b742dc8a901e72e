"""Journals and exported files of an earlier version of the schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from miner.journal import Journal
from miner.journal.schema import ADDED_COLUMNS, MIGRATIONS, NAME, SCHEMA_VERSION
from miner.journal.transfer import export_journal, import_journal
from tests.journal.samples import SETTINGS, a_job, an_asset


async def old_journal(folder: Path) -> str:
    """A journal of version 1 with one finished job; the job's id."""
    job = a_job()
    async with await Journal.open(folder, SETTINGS) as journal:
        await journal.accept(job, 1.0)
        await journal.finish(job.id, an_asset())
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as connection:
        for table, columns in ADDED_COLUMNS[1].items():
            for column in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
    return job.id


def test_every_version_has_its_way_to_the_next() -> None:
    """No version is left behind, and each says which columns are new after it."""
    assert set(MIGRATIONS) == set(ADDED_COLUMNS) == set(range(1, SCHEMA_VERSION))


async def test_an_old_journal_is_brought_up_to_date(tmp_path: Path) -> None:
    """What was in it is there afterwards, without what it did not know, and new results go in."""
    old, new = await old_journal(tmp_path), a_job("a blue chair")
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        await journal.accept(new, 1.0)
        await journal.finish(new.id, replace(an_asset(b"other"), score=0.75, candidates=3))
        before, after = await journal.find(old), await journal.find(new.id)
        assets = await journal.asset(old), await journal.asset(new.id)

    assert before is not None and (before.score, before.candidates) == (None, None)
    assert after is not None and (after.score, after.candidates) == (0.75, 3)
    assert assets[0] == an_asset()
    assert assets[1] == replace(an_asset(b"other"), score=0.75, candidates=3)


async def test_an_old_journal_is_exported_as_it_is_and_read_in_anew(tmp_path: Path) -> None:
    """A file of the old version goes into a new journal, once and again."""
    old = await old_journal(tmp_path / "old")
    file = tmp_path / "j.jsonl"
    export_journal(tmp_path / "old", file, now=1.0)

    added, _ = import_journal(tmp_path / "new", file)
    again, known = import_journal(tmp_path / "new", file)

    assert '"schema":1' in file.read_text().splitlines()[0]
    assert (added["jobs"], again["jobs"], known["jobs"]) == (1, 0, 1)
    async with await Journal.open(tmp_path / "new", SETTINGS) as journal:
        assert await journal.asset(old) == an_asset()

"""Journals and exported files of an earlier version of the schema."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from miner.job import MAIN
from miner.journal import Journal
from miner.journal.check import check_journal
from miner.journal.schema import ADDED_COLUMNS, MIGRATIONS, NAME, SCHEMA_VERSION
from miner.journal.store import digest_of
from miner.journal.transfer import export_journal, import_journal
from tests.journal.old_schema import make_old_journal
from tests.journal.samples import SETTINGS, a_job, an_asset

OLD = "0" * 31 + "a"
DIGEST = digest_of(an_asset())

TASK = "task"


def old_journal(folder: Path, version: int) -> str:
    """A journal of an earlier version with one finished job of a task; the job's id."""
    folder.mkdir(exist_ok=True)
    make_old_journal(folder, version)
    asset = an_asset()
    with closing(sqlite3.connect(folder / NAME)) as connection:
        connection.execute(
            "INSERT INTO assets VALUES (?, 1.0, ?, ?, ?, ?)",
            (DIGEST, len(asset.data), asset.gaussians, asset.format, asset.data),
        )
        row = {
            **{"id": OLD, "task_id": TASK, "requester": "5Hot", "intake": "api", "seed": 7},
            **{"spec_key": "k", "prompt": "a red chair", "format": "ply", "priority": 0.0},
            **{"promised": 1, "attempts": 1, "deadline_at": 1.0, "state": "done"},
            **{"generator": asset.generator, "gaussians": asset.gaussians, "asset": DIGEST},
            **{"bytes": len(asset.data), "timings": json.dumps(dict(asset.timings))},
            **{"accepted_at": 1.0, "begun_at": 1.0, "finished_at": 2.0},
        }
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", list(row.values()))
        connection.commit()
    return OLD


def test_every_version_has_its_way_to_the_next() -> None:
    """No version is left behind, and each says which columns are new after it."""
    assert set(MIGRATIONS) == set(ADDED_COLUMNS) == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
async def test_an_old_journal_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """What was in it is there afterwards, without what it did not know, and new results go in."""
    old, new = old_journal(tmp_path, version), a_job("a blue chair")
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        await journal.accept(new, 1.0)
        await journal.finish(new.id, replace(an_asset(b"other"), score=0.75, candidates=3))
        before, after = await journal.find(old), await journal.find(new.id)
        assets = await journal.asset(old), await journal.asset(new.id)
        found = await journal.find_task(MAIN, TASK)
    with closing(sqlite3.connect(tmp_path / NAME)) as migrated:
        now = dict(migrated.execute("SELECT name, sql FROM sqlite_schema"))
    async with await Journal.open(tmp_path / "new", SETTINGS):
        pass
    with closing(sqlite3.connect(tmp_path / "new" / NAME)) as fresh:
        wanted = dict(fresh.execute("SELECT name, sql FROM sqlite_schema"))

    assert found == before
    assert now == wanted
    assert check_journal(tmp_path, 0.0).faults == ()
    assert before is not None and before.identity == MAIN
    assert before is not None and (before.score, before.candidates) == (None, None)
    assert after is not None and (after.score, after.candidates) == (0.75, 3)
    assert assets[0] == an_asset()
    assert assets[1] == replace(an_asset(b"other"), score=0.75, candidates=3)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
async def test_an_old_journal_is_exported_as_it_is_and_read_in_anew(
    tmp_path: Path, version: int
) -> None:
    """A file of the old version goes into a new journal, once and again."""
    old = old_journal(tmp_path / "old", version)
    file = tmp_path / "j.jsonl"
    export_journal(tmp_path / "old", file, now=1.0)

    added, _ = import_journal(tmp_path / "new", file)
    again, known = import_journal(tmp_path / "new", file)

    assert f'"schema":{version}' in file.read_text().splitlines()[0]
    assert (added["jobs"], again["jobs"], known["jobs"]) == (1, 0, 1)
    async with await Journal.open(tmp_path / "new", SETTINGS) as journal:
        assert await journal.asset(old) == an_asset()

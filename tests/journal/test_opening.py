"""What is refused when a journal is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from miner.errors import JournalError
from miner.journal import Journal
from miner.journal.schema import NAME
from tests.journal.samples import SETTINGS, a_job


async def open_and_close(folder: Path) -> None:
    await (await Journal.open(folder, SETTINGS)).close()


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """Prompts are private: the file is made for its owner alone."""
    await open_and_close(tmp_path / "new" / "folder")

    assert (tmp_path / "new" / "folder" / NAME).stat().st_mode & 0o077 == 0


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer program is left alone, with a line that says so."""
    await open_and_close(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(JournalError, match=r"version 99.*newer"):
        await open_and_close(tmp_path)


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database that is not a journal is not written to."""
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(JournalError, match="not a journal"):
        await open_and_close(tmp_path)


@pytest.mark.parametrize("damage", ["noise", "page", "short"])
async def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    """Noise, an overwritten page or a cut file stop the start, and let go of the lock."""
    async with await Journal.open(tmp_path, SETTINGS) as journal:
        for _ in range(50):
            await journal.accept(a_job("x" * 2000), 1.0)
    path = tmp_path / NAME
    data = path.read_bytes()
    half = len(data) // 2
    harmed = {
        "noise": b"\x55" * len(data),
        "page": data[: half - 30_000] + b"\xaa" * 60_000 + data[half + 30_000 :],
        "short": data[:half],
    }
    path.write_bytes(harmed[damage])

    for _ in range(2):
        with pytest.raises(JournalError, match=r"damaged|cannot be used"):
            await open_and_close(tmp_path)


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the database is one line, not a traceback."""
    (tmp_path / NAME).mkdir()

    with pytest.raises(JournalError, match="cannot open"):
        await open_and_close(tmp_path)

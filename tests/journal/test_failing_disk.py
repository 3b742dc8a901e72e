"""A disk that takes nothing: nobody hangs, nothing kept is lost, and it heals by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miner.errors import JournalUnavailable
from miner.journal import Journal
from miner.journal.journal import Files
from miner.journal.store import Store
from miner.journal.writer import Writer
from tests.journal.samples import SETTINGS, a_job, an_asset

ROOT = Path(__file__).parents[2]


class Disk:
    """A connection that can be made to refuse commits, as a full disk does."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.full = False

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *values)


class FaultyFiles(Files):
    """The real files on such a disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SETTINGS)
        self.disk = Disk(self.store.connection)
        self.store.connection = self.disk  # type: ignore[assignment]


@pytest.fixture
async def faulty(tmp_path: Path) -> AsyncIterator[tuple[Journal, Disk]]:
    made: list[FaultyFiles] = []

    def open_files() -> FaultyFiles:
        made.append(FaultyFiles(tmp_path))
        return made[0]

    journal = Journal(tmp_path, SETTINGS, Writer(open_files), lambda: 1.0)
    await journal.start()
    async with journal:
        yield journal, made[0].disk


async def until_healed(journal: Journal) -> None:
    """Polls, as the thread tries again by its own clock."""
    async with asyncio.timeout(60):
        while journal.failed or journal.stats.kept:  # noqa: ASYNC110 - a thread heals it
            await asyncio.sleep(0.01)


async def test_nothing_is_promised_on_a_full_disk(faulty: tuple[Journal, Disk]) -> None:
    """Accepting fails with an error that callers know, the journal says why, then it heals."""
    journal, disk = faulty
    refused, later = a_job(), a_job()
    disk.full = True
    with pytest.raises(JournalUnavailable, match="disk is full"):
        await journal.accept(refused, 1.0)
    assert journal.failed == "database or disk is full"
    assert journal.stats.jobs == 0

    disk.full = False
    await journal.accept(later, 1.0)
    assert journal.failed is None
    assert [job.id for job, _ in await journal.unfinished()] == [later.id]


async def test_outcomes_and_notes_wait_for_the_disk(faulty: tuple[Journal, Disk]) -> None:
    """What must not be lost is written when the disk is back, without being asked again."""
    journal, disk = faulty
    job = a_job()
    await journal.accept(job, 1.0)
    disk.full = True
    journal.begin(job.id, 1)
    journal.remember_nonce("a", 5, 9.0)
    with pytest.raises(JournalUnavailable):
        await journal.finish(job.id, an_asset())
    journal.deliver(job.id)
    assert (await journal.find(job.id)).state == "queued"  # type: ignore[union-attr]
    disk.full = False
    await until_healed(journal)

    record = await journal.find(job.id)
    assert record is not None
    assert (record.state, record.attempts, record.delivered_at) == ("done", 1, 1.0)
    assert await journal.nonces() == [("a", 5, 9.0)]
    assert journal.stats.results == 1


async def test_reading_goes_on_while_the_disk_is_full(faulty: tuple[Journal, Disk]) -> None:
    """A result can be handed out although nothing can be written."""
    journal, disk = faulty
    job = a_job()
    await journal.accept(job, 1.0)
    await journal.finish(job.id, an_asset())
    disk.full = True

    assert await journal.asset(job.id) == an_asset()
    disk.full = False


async def test_a_mistake_of_one_operation_is_its_own(faulty: tuple[Journal, Disk]) -> None:
    """A value that SQLite cannot hold fails alone; those beside it are written."""
    journal, _ = faulty
    job = a_job()
    journal.remember_nonce("too large", 2**64, 1.0)
    journal.remember_nonce("fine", 1, 1.0)
    await journal.accept(job, 1.0)

    assert await journal.nonces() == [("fine", 1, 1.0)]
    assert journal.failed is None
    assert journal.stats.lost == 1


async def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """A disk that stays full costs bounded memory: old notes go, outcomes stay."""
    files = FaultyFiles(tmp_path)
    writer = Writer(lambda: files, max_kept=10)
    journal = Journal(tmp_path, SETTINGS, writer, lambda: 1.0)
    await journal.start()
    job = a_job()
    await journal.accept(job, 1.0)
    files.disk.full = True
    with pytest.raises(JournalUnavailable):
        await journal.finish(job.id, an_asset())
    for number in range(30):
        journal.remember_nonce(str(number), 1, 1.0)
    with pytest.raises(JournalUnavailable):
        await journal.accept(a_job(), 1.0)
    assert journal.stats.kept <= 10
    files.disk.full = False
    await until_healed(journal)

    record = await journal.find(job.id)
    assert record is not None
    assert record.state == "done"
    assert 0 < len(await journal.nonces()) < 10
    assert journal.stats.lost == 30 - len(await journal.nonces())
    await journal.close()


async def test_a_failed_operation_leaves_no_half(faulty: tuple[Journal, Disk]) -> None:
    """An operation of two steps whose second fails takes the first back."""
    journal, _ = faulty

    def half(store: Store) -> None:
        store.connection.execute("INSERT INTO facts VALUES ('half', 'done')")
        raise ZeroDivisionError

    with pytest.raises(JournalUnavailable):
        await journal._writer.ask(half)
    assert await journal.state("half") is None


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from miner.errors import JournalUnavailable
from miner.journal import Journal
from tests.journal.samples import SETTINGS, a_job, an_asset

async def main():
    async with await Journal.open(Path(sys.argv[1]), SETTINGS) as journal:
        job = a_job()
        await journal.accept(job, 1.0)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            await journal.finish(job.id, an_asset(b"x" * 1_000_000))
        except JournalUnavailable:
            print("refused", journal.failed is not None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await journal.accept(a_job(), 1.0)
        print("kept", (await journal.find(job.id)).state, journal.failed)

asyncio.run(main())
"""


def test_a_really_full_file_system(tmp_path: Path) -> None:
    """Where the operating system refuses to write, the outcome waits and is written later."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "refused True\nkept done None\n", done.stderr

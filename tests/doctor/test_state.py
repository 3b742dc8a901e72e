"""What the last life left: the journal, and whether somebody holds its folder."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from miner.doctor.state import lock_holder, look_at_daemon, look_at_journal
from miner.errors import JournalError
from miner.job import Job, JobSpec
from miner.journal import Journal
from miner.journal.lock import FolderLock
from miner.settings import JournalSettings
from tests.doctor.machines import case, put


async def filled(folder: Path) -> Path:
    """A journal with one promise in it, closed in order; its file."""
    async with await Journal.open(folder, JournalSettings()) as journal:
        job = Job(
            id="a", spec=JobSpec(prompt="a red cube"), intake="http", requester="us", deadline=1e9
        )
        await journal.accept(job, 2e9)
    return folder / "journal.db"


async def test_a_first_start_has_no_journal(tmp_path: Path) -> None:
    """That is no fault."""
    assert (await look_at_journal(case(tmp_path))).status == "skip"


@pytest.mark.parametrize("deep", [False, True])
async def test_a_whole_journal_is_ok_and_stays_as_it_is(tmp_path: Path, deep: bool) -> None:
    """Quickly looked at and thoroughly, and not one byte is changed."""
    one = case(tmp_path, deep=deep)
    file = await filled(one.settings.daemon.state_dir)
    before = file.read_bytes()
    found = await look_at_journal(one)

    assert found.status == "ok"
    assert file.read_bytes() == before


async def test_a_damaged_journal_stops_the_start(tmp_path: Path) -> None:
    """Rubbish in its pages is found, and the mend named."""
    one = case(tmp_path)
    file = await filled(one.settings.daemon.state_dir)
    data = bytearray(file.read_bytes())
    data[20_000:60_000] = os.urandom(40_000)
    file.write_bytes(data)
    found = await look_at_journal(one)

    assert found.stops is JournalError
    assert "miner journal check" in found.mend


async def test_a_newer_journal_stops_the_start(tmp_path: Path) -> None:
    """An older program must not touch it; one of an older version is brought up to date."""
    one = case(tmp_path)
    file = await filled(one.settings.daemon.state_dir)
    for version, stops in ((99, JournalError), (1, None)):
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        assert (await look_at_journal(one)).stops is stops


def test_the_holder_of_a_lock_is_found_without_taking_it(tmp_path: Path) -> None:
    """By the kernel's own list: whoever starts at that moment is not in our way, nor we in his."""
    assert lock_holder(tmp_path) is None
    lock = FolderLock(tmp_path)
    assert lock_holder(tmp_path) == os.getpid()
    lock.release()
    assert lock_holder(tmp_path) is None


async def test_a_start_beside_another_daemon_is_stopped(tmp_path: Path) -> None:
    """The holder is named; by hand, one that does not answer is a failure that stops nothing."""
    folder = case(tmp_path).settings.daemon.state_dir
    lock = FolderLock(folder)
    state = (folder / "lock").stat()
    device = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}"
    lines = f"1: POSIX  ADVISORY  READ 1 fe:00:1 0 0\n2: FLOCK  ADVISORY  WRITE 42 {device}:"
    put(tmp_path, "proc/locks", f"{lines}{state.st_ino} 0 EOF\n")
    starting = await look_at_daemon(case(tmp_path, starting=True))
    by_hand = await look_at_daemon(case(tmp_path))
    lock.release()

    assert starting.stops is JournalError
    assert "in use by a running daemon (process 42)" in starting.line
    assert (by_hand.status, by_hand.stops) == ("fail", None)
    assert "does not answer" in by_hand.line


async def test_no_daemon_is_no_fault(tmp_path: Path) -> None:
    """A lock file that nobody holds is of the last life."""
    folder = case(tmp_path).settings.daemon.state_dir
    FolderLock(folder).release()

    assert (await look_at_daemon(case(tmp_path))).status == "ok"
    with (folder / "lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # still nobody's

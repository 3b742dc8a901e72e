"""Export and import lose nothing and double nothing."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from pathlib import Path

import pytest

from miner.errors import JournalError, OutputError
from miner.job import JobSpec
from miner.journal import Journal
from miner.journal.check import check_journal
from miner.journal.schema import NAME, open_read_only
from miner.journal.transfer import export_journal, import_journal
from tests.journal.samples import FAILURE, SETTINGS, a_job, an_asset

COUNTS = {"assets": 1, "jobs": 4, "nonces": 1, "facts": 1, "events": 2}


async def fill(folder: Path) -> Journal:
    """A journal with something of everything."""
    journal = await Journal.open(folder, SETTINGS, lambda: 1000.25)
    done, shared, failed = a_job(task_id="täsk"), a_job(), a_job("bad \U0001f600 prompt")
    picture = a_job(spec=JobSpec(image=bytes(range(256))), priority=0.1)
    for job in (done, shared, failed, picture):
        await journal.accept(job, 1e9 / 3)
    await journal.finish(done.id, an_asset(bytes(range(256))))
    await journal.finish(shared.id, an_asset(bytes(range(256))))
    await journal.finish(failed.id, FAILURE)
    journal.remember_nonce("key", 2**63 - 1, 1e9)
    journal.set_state("fact", "line\nbreak")
    for _ in range(2):
        journal.event("twice", {"equal": True})
    assert len(await journal.events()) == 2
    return journal


def rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in a journal."""
    connection = open_read_only(folder)
    tables = ("jobs", "assets", "nonces", "facts", "events")
    found = {t: [tuple(r) for r in connection.execute(f"SELECT * FROM {t}")] for t in tables}
    connection.close()
    return found


@pytest.mark.parametrize("name", ["j.jsonl", "j.jsonl.gz", "j.jsonl.zst"])
async def test_an_import_is_the_journal_again(tmp_path: Path, name: str) -> None:
    """Every row, byte and order comes through, from beside a running daemon too."""
    async with await fill(tmp_path / "a"):
        assert export_journal(tmp_path / "a", tmp_path / name) == COUNTS

    added, known = import_journal(tmp_path / "b", tmp_path / name)

    assert added == COUNTS
    assert set(known.values()) == {0}
    assert rows(tmp_path / "b") == rows(tmp_path / "a")
    assert check_journal(tmp_path / "b", 0.0).faults == ()


async def test_importing_twice_doubles_nothing(tmp_path: Path) -> None:
    """What is there and equal is passed over, also where the file came from."""
    await (await fill(tmp_path / "a")).close()
    export_journal(tmp_path / "a", tmp_path / "j.jsonl")
    before = rows(tmp_path / "a")

    added, known = import_journal(tmp_path / "a", tmp_path / "j.jsonl")

    assert set(added.values()) == {0}
    assert known == COUNTS
    assert rows(tmp_path / "a") == before


async def test_a_contradiction_changes_nothing(tmp_path: Path) -> None:
    """A job that went on since the export would lose its outcome: the whole is refused."""
    await (await fill(tmp_path / "a")).close()
    export_journal(tmp_path / "a", tmp_path / "j.jsonl")
    import_journal(tmp_path / "b", tmp_path / "j.jsonl")
    async with await Journal.open(tmp_path / "b", SETTINGS) as journal:
        [(job, _)] = await journal.unfinished()
        await journal.finish(job.id, FAILURE)
        await journal.accept(a_job(), 1.0)
    before = rows(tmp_path / "b")

    with pytest.raises(JournalError, match=f"job {job.id} differs in state"):
        import_journal(tmp_path / "b", tmp_path / "j.jsonl")
    assert rows(tmp_path / "b") == before


async def test_a_task_of_two_jobs_is_refused(tmp_path: Path) -> None:
    """Another job of a task that is there would double it."""
    await (await fill(tmp_path / "a")).close()
    export_journal(tmp_path / "a", tmp_path / "j.jsonl")
    async with await Journal.open(tmp_path / "b", SETTINGS) as journal:
        await journal.accept(a_job(task_id="täsk"), 1.0)
    before = rows(tmp_path / "b")

    with pytest.raises(JournalError, match=r"UNIQUE constraint failed: .*jobs\.task_id"):
        import_journal(tmp_path / "b", tmp_path / "j.jsonl")
    assert rows(tmp_path / "b") == before


async def test_a_running_daemon_keeps_imports_out(tmp_path: Path) -> None:
    """Reading in beside a daemon is refused with its process."""
    async with await fill(tmp_path / "a"):
        export_journal(tmp_path / "a", tmp_path / "j.jsonl")
        with pytest.raises(JournalError, match="in use by a running daemon"):
            import_journal(tmp_path / "a", tmp_path / "j.jsonl")


async def exported(folder: Path) -> Path:
    await (await fill(folder / "a")).close()
    export_journal(folder / "a", folder / "j.jsonl")
    return folder / "j.jsonl"


@pytest.mark.parametrize("lines", [0, 1, 5, -1])
async def test_a_cut_file_is_refused(tmp_path: Path, lines: int) -> None:
    """Without its last line, however much there is, nothing is read in."""
    source = await exported(tmp_path)
    kept = source.read_text().splitlines(keepends=True)[:lines]
    source.write_text("".join(kept))

    with pytest.raises(JournalError, match="cut short"):
        import_journal(tmp_path / "b", source)
    assert not (tmp_path / "b" / NAME).exists()


async def test_a_cut_line_or_archive_is_refused(tmp_path: Path) -> None:
    """A file that ends in the middle of a line or of its compression is not read in."""
    source = await exported(tmp_path)
    source.write_bytes(source.read_bytes()[:-3])
    packed = tmp_path / "j.jsonl.gz"
    packed.write_bytes(gzip.compress(source.read_bytes())[:-20])

    for path, reason in ((source, "cut short in line"), (packed, "cannot be read")):
        with pytest.raises(JournalError, match=reason):
            import_journal(tmp_path / "b", path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("a red chair", "a red stool", "changed or damaged"),
        ('"kind":"nonce"', '"kind":"ounce"', "'ounce' is nothing that a journal holds"),
        ('"schema":3', '"schema":4', "of version 4"),
        ("miner-journal", "other", "not an exported journal"),
        ('{"kind":"end"', '{"kind":', "not JSON"),
        ('{"kind":"header"', '[]\n{"kind":"header"', "not an object"),
    ],
)
async def test_a_changed_file_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """Whatever was changed in the file, nothing of it is read in."""
    source = await exported(tmp_path)
    source.write_text(source.read_text().replace(old, new))

    with pytest.raises(JournalError, match=reason):
        import_journal(tmp_path / "b", source)
    assert not (tmp_path / "b" / NAME).exists()


async def test_a_line_is_missing_or_double(tmp_path: Path) -> None:
    """Lines that were removed or doubled by hand are noticed."""
    source = await exported(tmp_path)
    lines = source.read_text().splitlines(keepends=True)
    for changed in (lines[:2] + lines[3:], lines[:3] + lines[2:]):
        source.write_text("".join(changed))
        with pytest.raises(JournalError, match="changed or damaged"):
            import_journal(tmp_path / "b", source)


async def test_fields_of_a_file_are_checked(tmp_path: Path) -> None:
    """A file with a right sum and wrong rows is refused by the table's own rules."""
    source = await exported(tmp_path)
    text = source.read_text().replace('"state":"failed"', '"state":"lost"')
    body, end = text.splitlines()[:-1], json.loads(text.splitlines()[-1])
    digest = 0
    for line in body:
        digest = zlib.crc32(line.encode(), digest)
    source.write_text("\n".join([*body, json.dumps(end | {"crc32": digest})]) + "\n")

    with pytest.raises(JournalError, match="CHECK constraint failed"):
        import_journal(tmp_path / "b", source)
    assert rows(tmp_path / "b")["jobs"] == []


def test_without_a_journal_there_is_nothing_to_export(tmp_path: Path) -> None:
    """A wrong folder is told, and none is made."""
    with pytest.raises(JournalError, match="no journal at"):
        export_journal(tmp_path / "none", tmp_path / "j.jsonl")
    assert not (tmp_path / "none").exists()


async def test_an_export_is_whole_or_absent(tmp_path: Path) -> None:
    """Where the file cannot be written there is one error and no debris."""
    await (await fill(tmp_path / "a")).close()
    with pytest.raises(OutputError):
        export_journal(tmp_path / "a", tmp_path / "missing" / "j.jsonl")


async def test_a_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """Changed bytes, orphans and impossible rows are named; a sound journal is counted."""
    await (await fill(tmp_path)).close()
    sound = check_journal(tmp_path, 1e9)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("UPDATE assets SET data = zeroblob(256)")
        connection.execute("UPDATE jobs SET asset = NULL, gaussians = NULL WHERE state = 'done'")
        connection.execute("UPDATE jobs SET delivered_at = 1.0 WHERE finished_at IS NULL")
    connection.close()
    found = "\n".join(check_journal(tmp_path, 1e9).faults)

    assert sound.faults == ()
    assert sound.jobs == {"queued": 1, "running": 0, "done": 2, "failed": 1}
    assert (sound.overdue, sound.results, sound.result_bytes) == (1, 1, 256)
    for fault in ("is not what was written", "answers no job", "without what", "without an outc"):
        assert fault in found


async def test_a_check_changes_nothing(tmp_path: Path) -> None:
    """Neither beside a daemon nor after a crash is a byte of the database written."""
    journal = await fill(tmp_path)
    path, log = tmp_path / NAME, tmp_path / f"{NAME}-wal"
    before = path.read_bytes(), log.read_bytes()

    assert check_journal(tmp_path, 0.0).faults == ()
    assert (path.read_bytes(), log.read_bytes()) == before
    await journal.close()

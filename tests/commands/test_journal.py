"""``miner journal`` as an operator meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.cli import main
from miner.journal import Journal
from tests.journal.samples import SETTINGS, a_job, an_asset


async def fill(folder: Path) -> Journal:
    journal = await Journal.open(folder, SETTINGS)
    for done in (True, False):
        job = a_job()
        await journal.accept(job, 1.0)
        if done:
            await journal.finish(job.id, an_asset())
    return journal


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder with one job done and one waiting, closed."""
    await (await fill(tmp_path / "state")).close()
    return tmp_path / "state"


def test_check_counts_what_is_there(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound journal is described in four lines, and the status is 0."""
    assert main(["journal", "check", "--state-dir", str(state)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "jobs: 2 (1 queued, 0 running, 1 done, 0 failed; 1 overdue)",
        "results: 1 of 5 bytes in all",
        "nonces: 0, facts: 0, events: 0",
        "no faults",
    ]


def test_there_and_back(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was exported is imported, once."""
    file, other = str(tmp_path / "j.jsonl.zst"), str(tmp_path / "other")
    assert main(["journal", "export", file, "--state-dir", str(state)]) == 0
    for _ in range(2):
        assert main(["journal", "import", file, "--state-dir", other]) == 0
    lines = capsys.readouterr().out.splitlines()

    rows = "1 assets, 2 jobs, 0 nonces, 0 facts, 0 events"
    none = "0 assets, 0 jobs, 0 nonces, 0 facts, 0 events"
    assert lines == [
        f"wrote {file}: {rows}",
        f"added to {other}: {rows}",
        f"there already: {none}",
        f"added to {other}: {none}",
        f"there already: {rows}",
    ]


async def test_beside_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Looking and exporting work beside a daemon; importing is refused in one line."""
    file, folder = str(tmp_path / "j.jsonl"), str(tmp_path / "state")
    async with await fill(tmp_path / "state"):
        assert main(["journal", "check", "--state-dir", folder]) == 0
        assert main(["journal", "export", file, "--state-dir", folder]) == 0
        assert main(["journal", "import", file, "--state-dir", folder]) == 78
    told = capsys.readouterr()

    assert told.err.splitlines()[-1].startswith(f"miner: {folder} is in use by a running daemon")


def test_a_damaged_journal(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is one line and a status, never a traceback."""
    path = state / "journal.db"
    path.write_bytes(path.read_bytes()[:20_000])

    assert main(["journal", "check", "--state-dir", str(state)]) == 78
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert told.err.splitlines()[-1].startswith("miner: ")


@pytest.mark.parametrize("command", ["check", "export", "import"])
def test_nothing_there(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a journal, or a file that is not there, is told in one line."""
    file = [] if command == "check" else [str(tmp_path / "j.jsonl")]

    assert main(["journal", command, *file, "--state-dir", str(tmp_path / "none")]) == 78
    assert capsys.readouterr().err.splitlines()[-1].startswith("miner: ")
    assert list(tmp_path.iterdir()) == []

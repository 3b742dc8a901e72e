"""The doors operators know, and the demonstration, run as a person runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command of our own, as a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )


@pytest.mark.parametrize("spelling", [["neurons/miner.py"], ["-m", "neurons.miner"]])
@pytest.mark.parametrize("name", ["miner", "validator"])
def test_both_spellings_of_a_door_open(spelling: list[str], name: str) -> None:
    """As a script and as a module the doors find the package, not themselves."""
    words = [word.replace("miner", name) for word in spelling]
    helped = run(*words, "--help")

    assert helped.returncode == 0, helped.stderr
    assert "Usage" in helped.stdout


def test_a_door_opens_from_any_folder(tmp_path: Path) -> None:
    """The script works wherever it is called from, and says what is missing in one line."""
    done = run(str(ROOT / "neurons" / "miner.py"), "--state-dir", str(tmp_path), folder=tmp_path)

    assert done.returncode == 78
    assert "wallet.hotkey_file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demonstration_shows_answers_pictures_and_addresses(tmp_path: Path) -> None:
    """On the embedded preset: six splats and a refusal in a table, a sheet, metrics, addresses."""
    done = run("-m", "miner", "demo", "--no-keep", "-o", str(tmp_path))

    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if " 200 " in line]
    assert len(rows) == 6
    assert " 403 " in done.stdout
    assert 'miner_jobs_finished_total{code="ok",identity="main",intake="tgtask"} 2.0' in done.stdout
    assert "/metrics" in done.stdout
    assert "/status" in done.stdout
    assert len(list(tmp_path.glob("*.spz"))) == 6
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 160, 6 * 160)


def test_pulling_loses_nothing_when_both_sides_are_killed(tmp_path: Path) -> None:
    """Ten tasks, daemon and validator killed in between: the validator accepted them all."""
    done = run("-m", "miner", "demo", "--pull", "-o", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert "10 tasks: 10 accepted, 0 open, 0 ended twice; 0 early pulls" in done.stdout
    assert "killing both" in done.stderr
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 96, 10 * 96)

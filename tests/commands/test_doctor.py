"""``miner doctor`` as a person and a program call it, on the embedded preset."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from miner.cli import main
from miner.doctor.examine import CHECKS

SETTINGS = """
intakes = ["http"]
device = "cpu"
state_dir = "{folder}/state"
weights = "{folder}/weights"
[api]
port = {port}
[metrics]
enabled = false
"""


def settings(folder: Path, port: int = 0, more: str = "") -> list[str]:
    """Options that name a file of settings."""
    file = folder / "miner.toml"
    file.write_text(SETTINGS.format(folder=folder, port=port) + more)
    return ["--config", str(file)]


def test_json_has_every_check_and_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine that is as it should be: 0, and nothing was written."""
    status = main(["doctor", "--json", *settings(tmp_path)])
    answer = json.loads(capsys.readouterr().out)

    assert status == answer["exit_status"] == 0, answer
    assert [one["name"] for one in answer["findings"]] == [check.name for check in CHECKS]
    found = {one["name"]: one["status"] for one in answer["findings"]}
    sure = ("settings", "daemon", "packages", "gpu", "weights", "background", "disk")
    assert all(found[name] in ("ok", "warn") for name in sure)
    assert not (tmp_path / "state").exists()


def test_a_failure_that_stops_a_start_is_told_with_its_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A taken port: 78, the line, and the command that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = main(["doctor", *settings(tmp_path, port)])
    out = capsys.readouterr().out

    assert status == 78
    assert f"cannot listen on 127.0.0.1:{port}" in out
    assert f"mend: see who does: ss -ltnp 'sport = :{port}'" in out
    assert "the daemon would not start" in out


def test_settings_that_are_none_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing to look at, the file's fault is the only finding."""
    status = main(["doctor", *settings(tmp_path, more="[axom]\nport = 1\n")])
    captured = capsys.readouterr()

    assert status == 78
    assert "axom" in captured.out
    assert "Traceback" not in captured.out + captured.err

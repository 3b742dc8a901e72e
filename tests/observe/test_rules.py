"""The rules of Prometheus: right by its own tools, explained, and each one tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from miner.cli import app

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "config" / "prometheus"
RUNBOOK = (FOLDER / "RUNBOOK.md").read_text(encoding="utf-8")
TESTS: dict[str, Any] = yaml.safe_load((HERE / "alerts_test.yml").read_text(encoding="utf-8"))


def rules(name: str) -> list[dict[str, Any]]:
    """Of one file of rules."""
    found = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


ALERTS = rules("alerts.yml")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs it, where it is installed."""
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing: apt-get install prometheus")
        pytest.skip("promtool is not installed")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, cwd=HERE
    )


def test_the_configuration_is_right_by_prometheus() -> None:
    """Settings and rules load without an error or a warning."""
    done = promtool("check", "config", "--lint=all", "--lint-fatal", f"{FOLDER}/prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_recordings_do_what_their_tests_say() -> None:
    """promtool's unit tests pass."""
    done = promtool("test", "rules", "alerts_test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_is_explained_and_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    """It has a severity, a summary, a description, and a section of the runbook."""
    notes, name = alert["annotations"], alert["alert"]

    assert alert["labels"]["severity"] in ("page", "ticket")
    assert notes["summary"] and notes["description"].endswith(".")
    assert notes["runbook"] == f"RUNBOOK.md#{name.lower()}"
    section = RUNBOOK.split(f"\n## {name}\n")
    assert len(section) == 2 and "1. " in section[1].split("\n## ")[0]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_is_seen_to_fire_and_to_stay_silent(alert: dict[str, Any]) -> None:
    """The unit tests have a case of both for it."""
    cases = [
        bool(case["exp_alerts"])
        for test in TESTS["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == alert["alert"]
    ]

    assert set(cases) == {True, False}


def test_the_runbook_names_commands_that_exist() -> None:
    """Every ``miner ...`` in it is a command of ours."""
    runner, program = CliRunner(), get_command(app)
    named = set(re.findall(r"`miner ((?:[a-z-]+ ?)+)`", RUNBOOK))

    assert program is not None and named
    for words in named:
        done = runner.invoke(app, [*words.split(), "--help"])
        assert done.exit_code == 0, f"miner {words}"


def test_recorded_names_say_what_is_left_and_what_was_done() -> None:
    """labels:metric:operation, and each is used by a board or an alert."""
    boards = FOLDER.parent / "grafana" / "dashboards"
    users = "".join(path.read_text(encoding="utf-8") for path in boards.glob("*.json"))
    users += (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    users += str([rule["expr"] for rule in rules("recording.yml")])
    for rule in rules("recording.yml"):
        assert re.fullmatch(r"instance[a-z_]*:miner_[a-z_]+:[a-z0-9_]+", rule["record"])
        assert rule["record"] in users, rule["record"]

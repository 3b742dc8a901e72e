"""A real Prometheus watches a real daemon under load: every rule and every query has data.

The daemon runs the embedded preset, without GPU, chain and rollback. What only those can tell is
asked of the exhibit, a page with the same instruments; ``ONLY_EXHIBITED`` is the list of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from miner.admission.signature import new_hotkey
from miner.commands.demo_miner import DemoMiner, running, write_settings
from tests.observe.boards import FILES, ROOT, filled, load, metrics, queries
from tools.observe import prometheus
from tools.observe.exhibit import Exhibit, exhibit
from tools.observe.load import noise, wave

PATIENCE_SECONDS = 90.0
QUEUE_SETTINGS = "\n[queue]\nmax_depth = 1\n"
"""So few may wait that a wave of requests has some refused."""
WAVE, LIMIT_SECONDS = 4, 60.0

ONLY_EXHIBITED = re.compile(
    r"_gpu_|miner_self_check|miner_candidates|miner_rollback_(step|jobs|changes|duration|first)"
    r"|miner_validator|miner_pulls|miner_submission|miner_gateway|miner_chain_(syncs|block)"
    r"|miner_(registered|uid|rank|incentive|emission|stake|immunity)"
    r"|miner_connections_refused|miner_log_lines"
)
"""Of metrics, those that need a GPU, a self-check, a rollback, validators to ask, or a chain."""


@dataclass
class Watched:
    """What the tests ask."""

    prometheus: prometheus.Prometheus
    daemon: str
    exhibit: str

    def has_data(self, expr: str) -> bool:
        """Whether some series of it is a number, where it should come from."""
        exhibited = any(ONLY_EXHIBITED.search(name) for name in metrics(expr))
        instance = self.exhibit if exhibited else self.daemon
        found = self.prometheus.query(filled(expr, re.escape(instance).replace("\\", "\\\\")))
        return any(math.isfinite(float(series["value"][1])) for series in found)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Daemon, exhibit and Prometheus, with enough work done that rates exist."""
    if shutil.which("prometheus") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("prometheus is missing: apt-get install prometheus")
        pytest.skip("prometheus is not installed")
    folder = tmp_path_factory.mktemp("watched")
    validator = new_hotkey()
    settings, hotkey = write_settings(folder, [(validator, 5000.0)])
    with settings.open("a", encoding="utf-8") as file:
        file.write(QUEUE_SETTINGS)
    with contextlib.ExitStack() as stack:
        miner = stack.enter_context(running(settings, hotkey, folder / "daemon.log"))
        other = stack.enter_context(exhibit())
        page = miner.addresses["metrics"].removeprefix("http://")
        found = stack.enter_context(prometheus.running(folder, [page, other.address]))
        watched = Watched(found, page, other.address)
        _work(watched, other, lambda: _wave(miner, validator))
        yield watched


def _wave(miner: DemoMiner, validator: Any) -> None:
    asyncio.run(wave(miner, validator, WAVE, LIMIT_SECONDS))
    noise(miner)


def _work(watched: Watched, other: Exhibit, step: Any) -> None:
    """Load until Prometheus has seen counters grow, that it knew before."""
    needed = [
        f'instance:miner_job_duration_seconds:p95_5m{{instance="{watched.daemon}"}} > 0',
        f'instance_identity:miner_jobs_refused:ratio_rate5m{{instance="{watched.daemon}"}}',
        "instance_identity:miner_submissions_rejected:ratio_rate1h",
        f'rate(miner_malformed_requests_total{{instance="{watched.daemon}"}}[1m])',
        "increase(miner_rollback_changes_total[1m]) > 0",
    ]
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_SECONDS:
        other.move()
        step()
        if all(watched.prometheus.query(expr) for expr in needed):
            return
    missing = [expr for expr in needed if not watched.prometheus.query(expr)]
    raise TimeoutError(f"prometheus has not seen {missing}")


def test_both_pages_are_scraped(watched: Watched) -> None:
    """Prometheus takes the daemon's page as it is."""
    assert watched.prometheus.targets() == {watched.daemon: "up", watched.exhibit: "up"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_query_of_a_board_has_data(watched: Watched, path: Path) -> None:
    """No panel, annotation or condition is empty because of a misspelt name or label."""
    quiet = ("annotation",)  # they show what seldom happens: below, by what they are made of
    asked = [(title, expr) for title, expr in queries(load(path)) if not title.startswith(quiet)]

    empty = [(title, expr) for title, expr in asked if not watched.has_data(expr)]

    assert asked and not empty


def test_variables_and_annotations_ask_for_what_exists(watched: Watched) -> None:
    """Their metrics have series, with the labels they use."""
    for path in FILES:
        board = load(path)
        for variable in board["templating"]["list"][1:]:
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            found = watched.prometheus.query(filled(asked[1]))
            assert found and all(asked[2] in series["metric"] for series in found)
        for title, expr in queries(board):
            if title.startswith("annotation"):
                bare = re.sub(r", state=\"open\"|(==|>) [01]$", "", expr)
                assert watched.prometheus.query(filled(bare)), title


def test_every_recording_rule_has_data(watched: Watched) -> None:
    """Each recorded name has series of the daemon or, where it must be, of the exhibit."""
    text = (ROOT / "config" / "prometheus" / "recording.yml").read_text(encoding="utf-8")
    names = [rule["record"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]

    empty = [name for name in names if not watched.has_data(f'{name}{{instance=~"$instance"}}')]

    assert names and not empty


def test_every_rule_is_computed_without_an_error(watched: Watched) -> None:
    """Prometheus finds nothing wrong with a rule once there is data to compute it from."""
    rules = watched.prometheus.rules()

    assert {rule["health"] for rule in rules} == {"ok"}, [r for r in rules if r["health"] != "ok"]


def test_what_alerts_look_at_is_there(watched: Watched) -> None:
    """Every metric named in an alert has series, so that silence means all is well."""
    text = (ROOT / "config" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    alerts = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    names = {name for rule in alerts for name in metrics(rule["expr"])}

    assert len(names) > 12
    assert not [name for name in sorted(names) if not watched.prometheus.query(name)]

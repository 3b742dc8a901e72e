"""A Prometheus of one's own: the shipped rules, free port, throw-away data, always ended.

Only the program is used, never the system's service. Scrapes and rules run every second, so that
what takes a minute in service can be seen at once; everything else is as shipped.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

SHIPPED = Path(__file__).parents[2] / "config" / "prometheus"
START_SECONDS = 60.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Prometheus:
    """One that answers.

    Attributes:
        address: "http://host:port".
    """

    address: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression now; a query that is wrong raises ``URLError``."""
        found: list[dict[str, Any]] = self._get("query", {"query": expr})["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health, as loaded."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """The health of each target by its instance."""
        active = self._get("targets")["activeTargets"]
        return {target["labels"]["instance"]: target["health"] for target in active}

    def _get(self, page: str, query: Mapping[str, str] | None = None) -> Any:
        address = f"{self.address}/api/v1/{page}?{urlencode(query or {})}"
        with urlopen(address, timeout=10) as reply:  # noqa: S310 - our own process
            return json.load(reply)["data"]


def configuration(targets: Sequence[str]) -> dict[str, Any]:
    """The shipped configuration with other targets, and every second."""
    found: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text("utf-8"))
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    found["global"].update(every)
    found["rule_files"] = [str(SHIPPED / name) for name in found["rule_files"]]
    (job,) = found["scrape_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    return found


@contextmanager
def running(folder: Path, targets: Sequence[str], port: int = 0) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the targets, until the block ends.

    Args:
        folder: exists; settings, data and log go there.
        targets: "host:port" of each page of metrics.
        port: to listen on; 0 takes a free one.

    Raises:
        FileNotFoundError: the program is not installed.
        TimeoutError: it did not come up; the text names its log.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("no prometheus; on Debian: apt-get install prometheus")
    settings, log = folder / "prometheus.yml", folder / "prometheus.log"
    settings.write_text(yaml.safe_dump(configuration(targets)), encoding="utf-8")
    host = f"127.0.0.1:{port or _free_port()}"
    command = [program, f"--config.file={settings}", f"--web.listen-address={host}"]
    command += [f"--storage.tsdb.path={folder / 'data'}"]
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - its settings are ours
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            found = Prometheus(f"http://{host}")
            _wait(found, process, log)
            yield found
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(found: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while time.monotonic() - began < START_SECONDS and process.poll() is None:
        try:
            with urlopen(f"{found.address}/-/ready", timeout=5):  # noqa: S310 - our own process
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"prometheus did not come up, see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()

"""The service under a real systemd, from its installation to an upgrade, and what goes wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from miner.admission.signature import Signer, new_hotkey, write_hotkey
from tests.systemd.machine import HERE, INSTALLED, ROOT, Machine, booted, why_not

MISSING = why_not()

pytestmark = [
    pytest.mark.skipif(MISSING is not None, reason=f"a real systemd: {MISSING}"),
    pytest.mark.timeout(600),
    pytest.mark.long,
]

MINER = "/opt/splat-miner/venv/bin/miner"
STATE = Path("/var/lib/private/splat-miner")
CONFIG = Path("/etc/splat-miner/miner.toml")
VALIDATOR = new_hotkey(b"v" * 32)

PEERS = f"""
[[peer]]
hotkey = "{VALIDATOR.ss58_address}"
uid = 1
stake = 5000.0
validator_permit = true
"""
SETTINGS = """
[chain]
network = "static:/etc/splat-miner/peers.toml"
[log]
format = "json"
"""
IMPATIENT = """
[Service]
TimeoutStopSec=2
RestartSec=100ms
"""
"""A stop that lasts longer only because the daemon asks for it."""
HANGING = """
[Service]
WatchdogSec=4
RestartSec=100ms
ExecStart=
ExecStart=/opt/splat-miner/venv/bin/python /opt/tests/hanging.py run
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with booted() as machine:
        yield machine


def test_a_service_from_installation_to_upgrade(machine: Machine, tmp_path: Path) -> None:
    """It serves, reloads, survives its worker, drains, keeps its journal, and is watched."""
    hotkey = prepare(machine, tmp_path)
    starts(machine)
    answers_a_validator(machine, hotkey, tmp_path)
    reloads(machine)
    survives_its_worker(machine)
    refuses_a_second_one(machine)
    job = drains(machine, tmp_path)
    upgrades(machine, job)
    is_restarted_when_it_hangs(machine, job)
    machine.systemctl("stop", "miner")
    assert "removed" in machine.run(MINER, "service", "uninstall").stdout
    assert machine.show("miner", "LoadState") == {"LoadState": "not-found"}


def test_what_is_to_be_mended_is_not_restarted(machine: Machine) -> None:
    """A preflight that fails ends with 78 and its reason in the log, once."""
    install_template(machine)
    machine.put("/etc/splat-miner/idle/miner.toml", 'intakes = ["gateway"]\n')
    machine.put("/etc/splat-miner/idle/hotkey", "{}", 0o600)
    fails(machine, "miner@idle", 78)

    assert "gateway.urls" in machine.said("miner@idle")


def test_a_missing_credential_stops_the_start(machine: Machine) -> None:
    """Without the hotkey's file nothing of ours is started, and nothing is tried again."""
    install_template(machine)
    machine.put("/etc/splat-miner/keyless/miner.toml", SETTINGS)
    fails(machine, "miner@keyless", 243)

    assert "CREDENTIALS" in machine.said("miner@keyless")


# The steps


def prepare(machine: Machine, folder: Path) -> Signer:
    """What an operator puts there, and the unit; our hotkey."""
    hotkey = write_hotkey(folder / "hotkey")
    machine.put("/etc/splat-miner/hotkey", (folder / "hotkey").read_bytes(), 0o600)
    machine.put("/etc/splat-miner/peers.toml", PEERS)
    machine.put(CONFIG, SETTINGS)
    machine.put("/opt/tests/hanging.py", (HERE / "hanging.py").read_bytes())
    machine.warm_numba(Path("/var/cache/private/splat-miner/numba"))
    told = machine.run(MINER, "service", "install")
    assert "wrote /etc/systemd/system/miner.service" in told.stdout
    written = machine.path("/etc/systemd/system/miner.service").read_text()
    assert written == (ROOT / "systemd" / "miner.service").read_text()  # where it ships to
    verified = machine.run("systemd-analyze", "verify", "miner.service")
    assert verified.stderr == ""
    machine.drop_in("miner.service", IMPATIENT)
    return hotkey


def starts(machine: Machine) -> None:
    """Says that it loads, is active only when it is warm, and is no root."""
    machine.systemctl("start", "--no-block", "miner")
    machine.until(lambda: said_status(machine).startswith("loading mini"), "miner")
    assert machine.show("miner", "ActiveState") == {"ActiveState": "activating"}
    await_ready(machine)
    status = machine.path(f"/proc/{main_pid(machine)}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids


def answers_a_validator(machine: Machine, hotkey: Signer, folder: Path) -> None:
    """A signed request is answered by the hotkey that systemd handed over."""
    write_hotkey(folder / "validator", b"v" * 32)
    machine.put("/root/validator", (folder / "validator").read_bytes(), 0o600)
    told = machine.run(
        *(MINER, "validator", "--axon", "127.0.0.1:8091", "--miner", hotkey.ss58_address),
        *("--hotkey-file", "/root/validator", "a red cube"),
    )
    assert "200" in told.stdout + told.stderr


def reloads(machine: Machine) -> None:
    """Settings that hold are taken over; others are refused with the reason, and it serves on."""
    machine.put(CONFIG, SETTINGS + "[queue]\nmax_depth = 7\n")
    machine.systemctl("reload", "miner")
    assert "queue.max_depth" in machine.said("miner")
    await_ready(machine)
    machine.put(CONFIG, SETTINGS + "[queue]\nmax_deep = 7\n")
    assert machine.run("systemctl", "reload", "miner", check=False).returncode != 0
    assert "queue.max_deep" in machine.said("miner")
    await_ready(machine)
    machine.put(CONFIG, SETTINGS)


def survives_its_worker(machine: Machine) -> None:
    """A killed worker is replaced by the daemon; systemd has nothing to do."""
    pid = main_pid(machine)
    worker = status(machine)["workers"][0]["pid"]
    machine.run("kill", "-KILL", str(worker))
    machine.until(lambda: said_status(machine).startswith("not ready"), "miner")
    await_ready(machine)
    assert status(machine)["workers"][0]["restarts"] == 1
    assert main_pid(machine) == pid


def refuses_a_second_one(machine: Machine) -> None:
    """A second daemon on the same state ends with 78 and one line."""
    command = (MINER, "run", "--config", str(CONFIG), "--state-dir", str(STATE))
    key = ("--hotkey-file", "/etc/splat-miner/hotkey")
    second = machine.run(*command, *key, check=False)
    assert second.returncode == 78
    assert [x for x in second.stderr.splitlines() if x.startswith("miner:")]
    await_ready(machine)


def drains(machine: Machine, folder: Path) -> str:
    """A stop finishes what was accepted, however long the manager would have waited; one job."""
    places = [post(machine, f"a {colour} cube") for colour in ("blue", "green", "yellow")]
    machine.systemctl("stop", "miner")
    assert machine.show("miner", "Result", "ExecMainStatus", "ActiveState") == {
        "Result": "success",
        "ExecMainStatus": "0",
        "ActiveState": "inactive",
    }
    # A copy: SQLite follows every link of a path, and those of /proc lead elsewhere.
    for file in machine.path(STATE).glob("journal.db*"):
        shutil.copy(file, folder)
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
    assert states == {"done": 4}
    return places[-1]


def upgrades(machine: Machine, job: str) -> None:
    """The next version has what the last one made."""
    machine.put(INSTALLED / "miner" / "version.py", 'VERSION = "99.0.0"\n')
    machine.drop_in("miner.service", HANGING)
    machine.systemctl("start", "miner")
    assert status(machine)["version"] == "99.0.0"
    assert get(machine, job).startswith("ply")


def is_restarted_when_it_hangs(machine: Machine, job: str) -> None:
    """A silent event loop is ended with its trace in the log, and a new daemon serves."""
    pid = main_pid(machine)
    machine.run("kill", "-USR1", str(pid))
    machine.until(lambda: machine.show("miner", "NRestarts") == {"NRestarts": "1"}, "miner")
    await_ready(machine)
    assert main_pid(machine) != pid
    said = machine.said("miner")
    assert "Watchdog timeout" in said
    assert "in hang" in said
    assert get(machine, job).startswith("ply")


# What the steps have in common


def install_template(machine: Machine) -> None:
    machine.run(MINER, "service", "install", "--template")


def fails(machine: Machine, unit: str, status: int) -> None:
    """Starts it and sees it fail for good."""
    machine.run("systemctl", "start", unit, check=False)
    shown = machine.show(unit, "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": str(status), "NRestarts": "0"}


def await_ready(machine: Machine) -> None:
    line = "ready: 0 in the queue, 0 running, generator triposr"
    # After a restart the status may still be that of the daemon before.
    ready = {"ActiveState": "active", "StatusText": line}
    machine.until(lambda: machine.show("miner", "ActiveState", "StatusText") == ready, "miner")


def said_status(machine: Machine) -> str:
    return machine.show("miner", "StatusText").get("StatusText", "")


def main_pid(machine: Machine) -> int:
    return int(machine.show("miner", "MainPID")["MainPID"])


def status(machine: Machine) -> dict[str, Any]:
    told = json.loads(curl(machine, "/status"))
    assert isinstance(told, dict)
    return told


def post(machine: Machine, prompt: str) -> str:
    """The place of a result that is being made."""
    told = json.loads(curl(machine, "/generate/", urlencode({"prompt": prompt})))
    return f"/results/{told['id']}"


def get(machine: Machine, place: str) -> str:
    return curl(machine, place)


def curl(machine: Machine, page: str, form: str = "") -> str:
    """What the HTTP API answers in the machine's own network."""
    script = (
        "import sys, urllib.request as u; page, form = sys.argv[1:]; "
        "r = u.Request('http://127.0.0.1:8093' + page, form.encode() or None, "
        "{'Prefer': 'respond-async'}); "
        "sys.stdout.write(u.urlopen(r, timeout=60).read().decode('latin-1'))"
    )
    return machine.run("/opt/splat-miner/venv/bin/python", "-c", script, page, form).stdout

"""What systemd says of our units."""

from __future__ import annotations

from pathlib import Path

import pytest

from miner.doctor.asking import Done
from miner.doctor.unit import judge, look_at_unit
from tests.doctor.machines import Programs, case


def unit(**changes: str) -> str:
    """A unit as ``systemctl show`` prints it."""
    usual = {
        "Result": "success",
        "Id": "miner.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
    }
    return "".join(f"{name}={value}\n" for name, value in {**usual, **changes}.items())


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({}, "ok", "miner.service is active"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "warn", "not installed"),
        ({"LoadState": "bad-setting"}, "fail", "is bad-setting"),
        ({"ActiveState": "failed", "Result": "watchdog"}, "fail", "has failed (watchdog)"),
        ({"NeedDaemonReload": "yes"}, "warn", "changed on disk"),
        ({"UnitFileState": "disabled"}, "warn", "not enabled"),
    ],
)
async def test_a_unit_is_judged_by_its_states(
    tmp_path: Path, changes: dict[str, str], status: str, told: str
) -> None:
    """Each state that an operator has to know of has its line."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    found = await look_at_unit(case(tmp_path, Programs(systemctl=Done(0, unit(**changes), ""))))

    assert found.status == status
    assert told in found.line


async def test_one_failed_instance_among_many_is_the_finding(tmp_path: Path) -> None:
    """Units of a template come as blocks; the worst of them speaks."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    blocks = [unit(), unit(Id="miner@1.service", ActiveState="failed"), unit(Id="miner@2.service")]
    done = Done(0, "\n".join(blocks), "")
    found = await look_at_unit(case(tmp_path, Programs(systemctl=done)))

    assert found.status == "fail"
    assert found.line.startswith("miner@1.service")


async def test_without_systemd_there_is_nothing_to_ask(tmp_path: Path) -> None:
    """Not this machine's init, no program of that name, or one that fails."""
    assert (await look_at_unit(case(tmp_path))).status == "skip"
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert (await look_at_unit(case(tmp_path))).status == "skip"
    failing = Programs(systemctl=Done(1, "", "Failed to connect to bus\n"))
    found = await look_at_unit(case(tmp_path, failing))
    assert (found.status, found.line) == ("warn", "systemctl failed: Failed to connect to bus")


def test_a_unit_of_before_does_not_load_nvidia_uvm() -> None:
    """On a machine with a card the unit is to be installed anew; elsewhere it does not matter."""
    unit = {"Id": "miner.service", "LoadState": "loaded", "ActiveState": "active"}
    new = {**unit, "Wants": "network-online.target modprobe@nvidia_uvm.service"}

    found = judge(unit, has_card=True)
    assert found.status == "warn"
    assert "miner service install" in found.mend
    assert judge(new, has_card=True).status == judge(unit).status == "ok"

"""The systemd unit: installed, enabled, and not failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from miner.doctor.asking import MISSING
from miner.doctor.cards import cards
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, together, warn
from miner.service.unit import UVM_UNIT

UNITS = ("miner.service", "miner@*.service")
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "Result",
    "Wants",
)
UVM_MEND = "miner service install (with the options of the first time), or load it at boot"


async def look_at_unit(case: Case) -> Finding:
    """What ``systemctl show`` says of our units."""
    if not (case.host.root / "run/systemd/system").is_dir():
        return skip("systemd does not run this machine")
    done = await case.host.run(
        ["systemctl", "show", "--no-pager", f"--property={','.join(PROPERTIES)}", *UNITS]
    )
    if done.status == MISSING:
        return skip("systemctl is not here")
    if done.status != 0:
        last = (done.err.strip().splitlines() or ["it does not say why"])[-1]
        return warn(one_line(f"systemctl failed: {last}"))
    units = [unit for unit in blocks(done.out) if unit.get("LoadState") != "not-found"]
    if not units:
        reason = "the daemon does not come back when the machine restarts"
        return warn(f"{UNITS[0]} is not installed", reason, "if it is to: miner service install")
    has_card = (await cards(case)).there
    return together([judge(unit, has_card) for unit in units])


def blocks(text: str) -> Iterator[Mapping[str, str]]:
    """The units in what systemctl printed: lines of ``Name=value``, an empty one between two."""
    for block in text.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
        if unit := {name: value for name, _, value in pairs}:
            yield unit


def judge(unit: Mapping[str, str], has_card: bool = False) -> Finding:
    """One unit that systemd knows.

    Args:
        unit: its properties.
        has_card: whether this machine has one that the unit must find.
    """
    name, load, active = (unit.get(key, "") for key in ("Id", "LoadState", "ActiveState"))
    if load != "loaded":
        return fail(f"{name} is {load}", "", f"systemctl status {name}")
    if active == "failed":
        line = f"{name} has failed ({unit.get('Result', '')})"
        return fail(line, "", f"journalctl -u {name} -e; then systemctl restart {name}")
    if unit.get("NeedDaemonReload") == "yes":
        return warn(f"{name} was changed on disk", "the old one holds", "systemctl daemon-reload")
    if unit.get("UnitFileState") == "disabled":
        reason = "it does not start with the machine"
        return warn(f"{name} is {active} and not enabled", reason, f"systemctl enable {name}")
    if has_card and UVM_UNIT not in unit.get("Wants", "").split():
        reason = "after a boot without a screen /dev/nvidia-uvm is missing, and CUDA fails"
        return warn(f"{name} does not have nvidia_uvm loaded", reason, UVM_MEND)
    return ok(f"{name} is {active}")

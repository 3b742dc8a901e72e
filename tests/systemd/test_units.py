"""The units' text: in step with what ships, right for systemd, closed, and rendered by choices."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from miner.service.unit import TEMPLATE, Choices, render
from miner.settings import DaemonSettings

ROOT = Path(__file__).parents[2]
LARGEST_EXPOSURE = 2.0

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"),
    reason="needs systemd-analyze",
)

CHOICES = {
    "shipped": Choices(),
    "template": TEMPLATE,
    "everything": replace(
        Choices(),
        config=Path("/srv/my miner/100%/miner.toml"),
        password=Path("/etc/splat-miner/password"),
        user="root",
        gpu="GPU-1234",
        home_visible=True,
    ),
    "no hotkey": replace(Choices(), hotkey=None),
}


def lines(choices: Choices) -> list[str]:
    return render(choices).splitlines()


@pytest.mark.parametrize("choices", [Choices(), TEMPLATE], ids=lambda one: one.unit_name)
def test_the_units_that_ship_are_in_step(choices: Choices) -> None:
    """They are what ``miner service show --shipped`` prints."""
    assert (ROOT / "systemd" / choices.unit_name).read_text() == render(choices)


@needs_analyze
@pytest.mark.parametrize("name", CHOICES)
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    """``systemd-analyze verify`` is silent: it only mutters about keys it does not know."""
    choices = replace(CHOICES[name], program=(sys.executable, "-m", "miner"))
    unit = tmp_path / choices.unit_name
    unit.write_text(render(choices))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize("name", ["shipped", "template", "everything"])
def test_the_sandbox_leaves_little_open(name: str, tmp_path: Path) -> None:
    """The exposure that ``systemd-analyze security`` finds stays within our limit."""
    unit = tmp_path / CHOICES[name].unit_name
    # An account of its own counts as little as one of the moment; root would count much.
    unit.write_text(render(replace(CHOICES[name], user=None)))
    limit = f"--threshold={LARGEST_EXPOSURE * 10:.0f}"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", limit, "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_what_cuda_and_torch_need_stays_open() -> None:
    """Nothing that is known to break them is in the unit; the devices are the driver's alone."""
    said = lines(Choices())
    for broken in ("PrivateDevices=yes", "MemoryDenyWriteExecute=yes", "ProcSubset=pid"):
        assert broken not in said
    assert "SystemCallFilter=~@resources" not in said
    allowed = [line for line in said if line.startswith("DeviceAllow=")]
    assert allowed
    assert all(line.startswith("DeviceAllow=char-nvidia") for line in allowed)


def test_nvidia_uvm_is_there_after_a_boot_without_a_screen() -> None:
    """Its module is loaded before the unit starts, when DeviceAllow is resolved; then its node."""
    said = lines(Choices())
    for key in ("After=", "Wants="):
        (line,) = [line for line in said if line.startswith(key)]
        assert "modprobe@nvidia_uvm.service" in line.split()
    assert "ExecStartPre=+-/usr/bin/nvidia-modprobe -u -c=0" in said
    assert "DeviceAllow=char-nvidia-uvm rwm" in said


def test_only_keys_of_the_oldest_systemd_are_used() -> None:
    """What came after 252 would be passed over there in silence."""
    text = render(Choices())
    for later in ("notify-reload", "RestartSteps", "RestartMaxDelaySec", "MemoryZSwapMax"):
        assert later not in text


def test_a_stop_waits_longer_than_the_drain() -> None:
    """The limit follows the settings, and the default of both is in step."""
    drain = DaemonSettings.model_fields["queue"].default.drain_seconds
    assert Choices().drain_seconds == drain
    assert "TimeoutStopSec=181" in lines(replace(Choices(), drain_seconds=120.5))


def test_paths_reach_the_program_as_they_are() -> None:
    """Spaces, quotes, percent and dollar signs are no syntax; the instance's name is."""
    odd = Path('/srv/a "b" $HOME 5%/miner.toml')
    start = next(x for x in lines(replace(Choices(), config=odd)) if x.startswith("ExecStart="))
    assert start.endswith(r'--config "/srv/a \"b\" $$HOME 5%%/miner.toml"')
    template = next(x for x in lines(TEMPLATE) if x.startswith("ExecStart="))
    assert template.endswith("--config /etc/splat-miner/%i/miner.toml")


def test_choices_show_in_the_unit() -> None:
    """Each is one line, or its absence."""
    said = lines(CHOICES["everything"])
    assert "User=root" in said
    assert "DynamicUser=yes" not in said
    assert "ProtectHome=read-only" in said
    assert "LoadCredential=hotkey-password:/etc/splat-miner/password" in said
    assert "Environment=CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-1234" in said
    assert not [x for x in lines(CHOICES["no hotkey"]) if x.startswith("LoadCredential")]

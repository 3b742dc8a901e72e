"""The hotkey's file: opened as a start opens it, and nobody else's to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miner.admission.signature import write_hotkey
from miner.doctor.case import Case
from miner.doctor.wallet import look_at_wallet
from miner.errors import ConfigError
from tests.doctor.machines import case


def with_key(root: Path, **wallet: Any) -> Case:
    """A case whose intakes sign."""
    named = {"hotkey_file": str(root / "hotkey"), **wallet}
    return case(root, intakes=["axon"], axon={"port": 0}, wallet=named)


async def test_a_key_of_our_own_is_ok(tmp_path: Path) -> None:
    """Its address is told, and nothing else of it."""
    signer = write_hotkey(tmp_path / "hotkey")
    found = await look_at_wallet(with_key(tmp_path))
    secrets = json.loads((tmp_path / "hotkey").read_text())

    assert found.status == "ok"
    assert signer.ss58_address in found.line
    assert all(secrets[name] not in str(found) for name in ("secretSeed", "privateKey"))


@pytest.mark.parametrize(
    ("mode", "status"),
    [(0o400, "ok"), (0o600, "ok"), (0o640, "warn"), (0o660, "fail"), (0o644, "fail")],
)
async def test_a_key_that_others_can_read_is_told(tmp_path: Path, mode: int, status: str) -> None:
    """By everybody it is a failure, by the group a warning; neither stops the start."""
    write_hotkey(tmp_path / "hotkey")
    (tmp_path / "hotkey").chmod(mode)
    found = await look_at_wallet(with_key(tmp_path))

    assert found.status == status
    assert found.stops is None
    assert status == "ok" or "chmod 600" in found.mend


async def test_the_password_file_is_looked_at_as_well(tmp_path: Path) -> None:
    """It opens the key."""
    write_hotkey(tmp_path / "hotkey")
    password = tmp_path / "password"
    password.write_text("x\n")
    password.chmod(0o644)
    found = await look_at_wallet(with_key(tmp_path, password_file=str(password)))

    assert found.status == "fail"
    assert str(password) in found.line


async def test_a_key_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """As the daemon would say it."""
    with pytest.raises(ConfigError, match="hotkey"):
        await look_at_wallet(with_key(tmp_path))


async def test_who_signs_nothing_needs_no_key(tmp_path: Path) -> None:
    """The HTTP API alone."""
    assert (await look_at_wallet(case(tmp_path))).status == "skip"

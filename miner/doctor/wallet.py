"""The hotkey: there, opened by what is given, and readable by nobody else.

The coldkey is not looked at, and no secret becomes part of a finding.
"""

from __future__ import annotations

import stat
from pathlib import Path

from miner.admission.signature import Signer
from miner.admission.wallet import Surroundings, hotkey_path, open_hotkey
from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, skip, together, warn
from miner.settings import credentials_folder, hotkey_password

REASON = "whoever reads it can act as this miner"


async def look_at_wallet(case: Case) -> Finding:
    """Opens the key as a start does."""
    daemon = case.settings.daemon
    if not daemon.signs:
        return skip("not needed", 'intakes has "http" alone, which signs nothing')
    signer = await signer_of(case)
    surroundings = given()
    findings = [ok(signer.ss58_address)]
    for path in (hotkey_path(daemon.wallet, surroundings), daemon.wallet.password_file):
        if path is not None and path.parent != surroundings.credentials:
            findings.append(check_mode(path))
    return together(findings)


async def signer_of(case: Case) -> Signer:
    """Our hotkey, opened once: an encrypted one takes a second.

    Raises:
        ConfigError: it cannot be opened; says why.
    """
    wallet = case.settings.daemon.wallet
    return await case.once("signer", lambda: in_thread(open_hotkey, wallet, given()))


def given() -> Surroundings:
    """What the process was given beside its settings."""
    return Surroundings(credentials_folder(), hotkey_password())


def check_mode(path: Path) -> Finding:
    """Whether others may read or write a secret's file. Systemd's credentials are its business."""
    mode = stat.S_IMODE(path.stat().st_mode)
    line, mend = f"{path} has mode {mode:04o}", f"chmod 600 {path}"
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        return fail(line, REASON, mend)
    if mode & stat.S_IRGRP:
        return warn(line, f"{REASON}, and its group may", mend)
    return ok(f"mode {mode:04o}")

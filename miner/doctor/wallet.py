"""The hotkey: there, opened by what is given, and readable by nobody else.

The coldkey is not looked at, and no secret becomes part of a finding.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from miner.admission.signature import Signer
from miner.admission.wallet import Surroundings, hotkey_path, open_hotkey
from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, skip, together, warn
from miner.errors import ConfigError
from miner.settings import IdentitySettings, credentials_folder, hotkey_password

REASON = "whoever reads it can act as this miner"


async def look_at_wallet(case: Case) -> Finding:
    """Opens the key as a start does."""
    signing = [one for one in case.settings.daemon.identities if one.intakes]
    if not signing:
        return skip("not needed", 'intakes has "http" alone, which signs nothing')
    surroundings, findings, addresses = given(), [], {}
    for identity in signing:
        addresses[identity.name] = (await signer_of(case, identity)).ss58_address
        findings.append(ok(addresses[identity.name]))
        wallet = identity.wallet
        paths = hotkey_path(wallet, surroundings, identity.name), wallet.password_file
        for path in paths:
            if path is not None and path.parent != surroundings.credentials:
                findings.append(check_mode(path))
    check_distinct(addresses)
    return together(findings)


async def signer_of(case: Case, identity: IdentitySettings) -> Signer:
    """An identity's hotkey, opened once: an encrypted one takes a second.

    Raises:
        ConfigError: it cannot be opened; says why.
    """
    name = identity.name
    return await case.once(
        f"signer {name}", lambda: in_thread(open_hotkey, identity.wallet, given(), name)
    )


def check_distinct(addresses: Mapping[str, str]) -> None:
    """Passes where every identity has a hotkey of its own.

    Args:
        addresses: ss58, by the identity's name.

    Raises:
        ConfigError: two have the same.
    """
    owners: dict[str, str] = {}
    for name, address in addresses.items():
        if (other := owners.setdefault(address, name)) != name:
            raise ConfigError(
                f"identities {other} and {name} have the same hotkey {address}; "
                "give each its own wallet.hotkey_file, or wallet.hotkey"
            )


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

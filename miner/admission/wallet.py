"""Which hotkey is ours: where its file lies, and what opens it when it is encrypted.

A daemon has nobody to ask: a password comes from a file or from the environment, or the start ends
with one line that says so. Only the hotkey's own file is opened. The coldkey, its public half and
every other file of the wallet stay untouched, and no secret becomes part of an error or a log line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from miner.admission.signature import Signer, load_hotkey, write_hotkey
from miner.errors import ConfigError
from miner.job import MAIN
from miner.settings.identity import credential
from miner.settings.subnet import WalletSettings

HOTKEYS = "hotkeys"
"""The folder of a wallet in which its hotkeys lie, by custom."""
CREDENTIAL = "hotkey"
PASSWORD_CREDENTIAL = "hotkey-password"  # noqa: S105 - the name of a file
MAX_PASSWORD_BYTES = 4096


@dataclass(frozen=True)
class Surroundings:
    """What the process was given beside its settings.

    Attributes:
        credentials: systemd's folder of credentials, where there is one.
        password: what the environment's variable for it holds.
    """

    credentials: Path | None = None
    password: str | None = field(default=None, repr=False)


def hotkey_path(
    wallet: WalletSettings, surroundings: Surroundings, identity: str = MAIN
) -> Path | None:
    """Where the hotkey's file should be; None where no setting and no credential names one.

    A file that is named and missing is named all the same: falling back to another key would make
    this miner somebody else.
    """
    if wallet.hotkey_file is not None:
        return wallet.hotkey_file
    if wallet.name:
        return wallet.path.expanduser() / wallet.name / HOTKEYS / wallet.hotkey
    return _credential(surroundings, credential(CREDENTIAL, identity))


def open_hotkey(wallet: WalletSettings, surroundings: Surroundings, identity: str = MAIN) -> Signer:
    """An identity's hotkey, ready to sign.

    Raises:
        ConfigError: none is named, or its file is missing, broken, or encrypted without a password
            that opens it. One line that quotes no secret.
    """
    path = hotkey_path(wallet, surroundings, identity)
    if path is None:
        whose = "" if identity == MAIN else f"identity {identity}: "
        raise ConfigError(
            f"{whose}wallet.hotkey_file: is not set, and neither wallet.name nor systemd's "
            f"credential {credential(CREDENTIAL, identity)!r}; name the key this miner signs with, "
            'or set intakes = ["http"]'
        )
    return load_hotkey(path, _password(wallet, surroundings, identity))


def new_hotkey_file(folder: Path, name: str, hotkey: str) -> tuple[Path, Signer]:
    """Makes a plain hotkey in the standard folder, for tests and demonstrations.

    Args:
        folder: of all wallets.
        name: of the wallet; it needs no coldkey.
        hotkey: name of the key.

    Returns:
        The key's file, mode 0600, and the key.

    Raises:
        ConfigError: a name is a path, the file exists (a key is never overwritten), or it cannot
            be written.
    """
    for part in (name, hotkey):
        if part in ("", ".", "..") or "/" in part:
            raise ConfigError(f"{part!r}: is not the name of a wallet or a key")
    path = folder.expanduser() / name / HOTKEYS / hotkey
    return path, write_hotkey(path)


def _password(wallet: WalletSettings, surroundings: Surroundings, identity: str) -> str | None:
    """What may open the key; read only from where it is named or given."""
    own, of_all = credential(PASSWORD_CREDENTIAL, identity), PASSWORD_CREDENTIAL
    path = wallet.password_file
    path = path or _credential(surroundings, own) or _credential(surroundings, of_all)
    if path is None:
        return surroundings.password or None
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_PASSWORD_BYTES)
        password = line.rstrip(b"\r\n").decode()
    except OSError as error:
        raise ConfigError(f"{path}: the password cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not "from" the cause: it holds the bytes.
        raise ConfigError(f"{path}: the password is not UTF-8") from None
    if not password:
        raise ConfigError(f"{path}: the first line is empty; it must hold the password")
    return password


def _credential(surroundings: Surroundings, name: str) -> Path | None:
    if surroundings.credentials is None:
        return None
    path = surroundings.credentials / name
    return path if path.is_file() else None

"""Hotkeys: reading and writing their files, signing, and checking the signatures of others.

The only file that handles secret keys. Coldkeys are none of its business, and nobody is ever asked
for a password: whoever loads an encrypted key brings it along. Keys are sr25519, as all hotkeys
are. No secret ever becomes part of an error, a ``repr`` or a log line.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Protocol

import bittensor_core  # type: ignore[import-untyped]  # compiled, without stubs

from miner.errors import ConfigError

SEED_BYTES = 32
SIGNATURE_BYTES = 64
MAX_KEY_FILE_BYTES = 64 * 1024
"""A plain hotkey file has about 500 bytes."""
SS58_PREFIX = 42
"""Of the addresses this network uses; their text is always 48 characters long."""
ADDRESS_CHARACTERS = 48
PUBLIC_FIELDS = ("publicKey", "accountId", "ss58Address")
SECRET_FIELDS = ("secretPhrase", "secretSeed", "privateKey")


class Signer(Protocol):
    """Somebody who can sign as a hotkey."""

    @property
    def ss58_address(self) -> str:
        """The hotkey's public name."""

    def sign(self, message: bytes, /) -> bytes:
        """The 64-byte sr25519 signature of ``message``."""


class _Hotkey:
    """A signing key whose ``repr`` and errors cannot show more than its address."""

    def __init__(self, keypair: bittensor_core.Keypair) -> None:
        self._keypair = keypair
        self._ss58_address: str = keypair.ss58_address

    @property
    def ss58_address(self) -> str:
        return self._ss58_address

    def sign(self, message: bytes, /) -> bytes:
        signature: bytes = self._keypair.sign(message)
        return signature

    def __repr__(self) -> str:
        return f"<hotkey {self._ss58_address}>"


def is_address(text: str) -> bool:
    """Whether ``text`` is the one spelling of an address that this network uses.

    The same key written with another prefix is another text, and would escape deny lists and
    replay tables that are kept by text; hence only one spelling counts.
    """
    if len(text) != ADDRESS_CHARACTERS or not (text.isascii() and text.isalnum()):
        return False
    try:
        raw = bittensor_core.ss58_decode(text)
        return bool(bittensor_core.ss58_encode(raw, SS58_PREFIX) == text)
    except ValueError:
        return False


def verify(hotkey: str, message: bytes, signature: bytes | str) -> bool:
    """Whether ``signature`` is the hotkey's own under ``message``; False for any garbage.

    Args:
        hotkey: an ss58 address.
        message: what was signed. A signature over ``<Bytes>message</Bytes>`` holds as well: wallets
            in browsers wrap what they sign, and official peers accept it.
        signature: 64 bytes, or their hex text with ``0x`` in front, as headers carry it.
    """
    raw = _signature_bytes(signature)
    if raw is None or len(hotkey) != ADDRESS_CHARACTERS:
        return False
    try:
        return bool(bittensor_core.verify(message, raw, hotkey))
    except (ValueError, TypeError):
        return False


def _signature_bytes(signature: bytes | str) -> bytes | None:
    if isinstance(signature, str):
        # bytes.fromhex skips blanks; a signature has one spelling only.
        if len(signature) != 2 + 2 * SIGNATURE_BYTES or not signature.startswith("0x"):
            return None
        try:
            signature = bytes.fromhex(signature[2:])
        except ValueError:
            return None
    return signature if len(signature) == SIGNATURE_BYTES else None


def public_key(address: str) -> bytes:
    """The 32 bytes that an ss58 address stands for; the address must be one."""
    return bytes(bittensor_core.ss58_decode(address))


def load_hotkey(path: Path, password: str | None = None) -> Signer:
    """The signing key in a standard key file.

    Args:
        path: the file.
        password: opens an encrypted one; not used for a plain one.

    Raises:
        ConfigError: the file is missing, unreadable, holds no secret or is broken, or it is
            encrypted and the password is missing or wrong. One line that names the file and never
            quotes it.
    """
    data = _read(path)
    if bittensor_core.keyfile_data_is_encrypted(data):
        data = _decrypted(path, data, password)
    _check_fields(path, data)
    try:
        keypair = bittensor_core.deserialize_keypair_from_keyfile_data(data)
        keypair.sign(b"")
    except (ValueError, TypeError, bittensor_core.KeyfileError):
        # Not "from" the cause: its text may quote the secret.
        raise ConfigError(f"{path}: not a key file that can be read; is it damaged?") from None
    return _Hotkey(keypair)


def _decrypted(path: Path, data: bytes, password: str | None) -> bytes:
    if not password:
        raise ConfigError(
            f"{path}: the hotkey is encrypted, and no password is given; set wallet.password_file, "
            "systemd's credential hotkey-password or MINER_HOTKEY_PASSWORD"
        )
    try:
        return bytes(bittensor_core.decrypt_keyfile_data(data, password))
    except bittensor_core.WrongPasswordError:
        raise ConfigError(
            f"{path}: the password does not open the hotkey, or it is damaged"
        ) from None
    except (ValueError, TypeError, bittensor_core.KeyfileError):
        # Not "from" the cause: its text may quote the secret.
        raise ConfigError(f"{path}: the encrypted hotkey cannot be read; damaged?") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the hotkey cannot be read: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE_BYTES:
        raise ConfigError(f"{path}: too large for a key file")
    return data


def _check_fields(path: Path, data: bytes) -> None:
    try:
        fields = json.loads(data)
    except ValueError:
        raise ConfigError(f"{path}: not a key file: it is not JSON") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: not a key file: it holds no JSON object")
    if not any(fields.get(name) for name in SECRET_FIELDS):
        kind = (
            "holds only the public half of a key"
            if any(fields.get(name) for name in PUBLIC_FIELDS)
            else "holds no key"
        )
        raise ConfigError(f"{path}: {kind}; give the hotkey's own file")


def new_hotkey(seed: bytes | None = None) -> Signer:
    """A key of 32 bytes of ``seed``, or a random one. For demonstrations and tests only."""
    return _Hotkey(_keypair(seed))


def write_hotkey(path: Path, seed: bytes | None = None) -> Signer:
    """Makes a key as ``new_hotkey`` does and writes its standard, plain file, mode 0600.

    Raises:
        ConfigError: the file exists (a key is never overwritten) or cannot be written.
    """
    keypair = _keypair(seed)
    fields = json.loads(bittensor_core.serialized_keypair_to_keyfile_data(keypair))
    # Older wallets fail on a number here, and take its absence for sr25519.
    fields.pop("cryptoType", None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(fields, file)
    except OSError as error:
        raise ConfigError(f"{path}: the hotkey cannot be written: {error.strerror}") from error
    return _Hotkey(keypair)


def _keypair(seed: bytes | None) -> bittensor_core.Keypair:
    seed = secrets.token_bytes(SEED_BYTES) if seed is None else seed
    assert len(seed) == SEED_BYTES, "a seed has 32 bytes"
    return bittensor_core.Keypair.create_from_seed(seed)

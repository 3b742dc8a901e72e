"""The peers of the subnet as admission sees them: an immutable snapshot, replaced as a whole.

Where snapshots come from is not known here, except for the simplest source: a TOML file for
running without a chain. Stake is in the subnet's units (alpha).
"""

from __future__ import annotations

import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from miner.admission.signature import is_address
from miner.errors import ConfigError

MAX_UID = 65_535
MAX_PORT = 65_535
MAX_PORT_DIGITS = 5
FIELDS = ("hotkey", "uid", "stake", "validator_permit")
OPTIONAL_FIELDS = ("axon", "owner")


@dataclass(frozen=True)
class Peer:
    """One registered hotkey.

    Attributes:
        hotkey: ss58 address.
        uid: its place in the subnet, 0 to ``MAX_UID``.
        stake: alpha, finite and not negative.
        validator_permit: whether it may act as a validator.
        axon: "ip:port" or "[ipv6]:port" where it serves; None where it does not.
        owner: whether it is the subnet's own hotkey.
    """

    hotkey: str
    uid: int
    stake: float
    validator_permit: bool
    axon: str | None = None
    owner: bool = False


@dataclass(frozen=True)
class PeersSnapshot:
    """Every peer at one moment.

    Attributes:
        peers: by hotkey; cannot be changed.
        taken_at: ``time.monotonic()`` seconds when it was true, or None where it does not age.
    """

    peers: Mapping[str, Peer]
    taken_at: float | None = None

    @classmethod
    def of(cls, *peers: Peer, taken_at: float | None = None) -> PeersSnapshot:
        """A snapshot of these peers."""
        return cls(MappingProxyType({peer.hotkey: peer for peer in peers}), taken_at)

    def get(self, hotkey: str) -> Peer | None:
        """The peer with this hotkey."""
        return self.peers.get(hotkey)

    def age_seconds(self, now: float) -> float:
        """Seconds since it was true; 0 where it does not age."""
        return 0.0 if self.taken_at is None else max(0.0, now - self.taken_at)


def is_endpoint(text: str) -> bool:
    """Whether ``text`` is "ipv4:port" or "[ipv6]:port", with a port from 1 to 65535."""
    host, colon, port = text.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if in_brackets else host)
    except ValueError:
        return False
    digits = colon and port.isascii() and port.isdigit() and len(port) <= MAX_PORT_DIGITS
    return bool(digits and 0 < int(port) <= MAX_PORT) and (address.version == 6) == in_brackets


class PeersSource:
    """Holds the snapshot in use. Calling it gives that snapshot; only its owner replaces it."""

    def __init__(self, snapshot: PeersSnapshot) -> None:
        self._snapshot = snapshot

    def __call__(self) -> PeersSnapshot:
        """The snapshot in use."""
        return self._snapshot

    def replace(self, snapshot: PeersSnapshot) -> None:
        """Puts ``snapshot`` into use."""
        self._snapshot = snapshot


def read_static_peers(path: Path) -> PeersSnapshot:
    """The peers of a TOML file with one ``[[peer]]`` for each; they do not age.

    Raises:
        ConfigError: the file cannot be read, or an entry is wrong; names the entry and the key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    entries = document.pop("peer", [])
    if document:
        raise ConfigError(f"{path}: unknown key {sorted(document)[0]!r}; only [[peer]] is known")
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: write [[peer]], with two brackets")
    peers: list[Peer] = []
    for number, entry in enumerate(entries, 1):
        try:
            peers.append(_peer(entry, peers))
        except ValueError as error:
            raise ConfigError(f"{path}: peer {number}: {error}") from error
    return PeersSnapshot.of(*peers)


def _peer(entry: Any, before: list[Peer]) -> Peer:
    if not isinstance(entry, dict):
        raise ValueError("is not a table")
    known = (*FIELDS, *OPTIONAL_FIELDS)
    for key in entry:
        if key not in known:
            raise ValueError(f"{key}: unknown key; known are {', '.join(known)}")
    for key in FIELDS:
        if key not in entry:
            raise ValueError(f"{key}: is missing")
    peer = Peer(
        _hotkey(entry),
        _uid(entry),
        _stake(entry),
        _flag(entry, "validator_permit"),
        _axon(entry),
        _flag(entry, "owner"),
    )
    if any(peer.hotkey == other.hotkey for other in before):
        raise ValueError(f"hotkey: {peer.hotkey} is there twice")
    if any(peer.uid == other.uid for other in before):
        raise ValueError(f"uid: {peer.uid} is there twice")
    return peer


def _hotkey(entry: Mapping[str, Any]) -> str:
    value = entry["hotkey"]
    if not isinstance(value, str) or not is_address(value):
        raise ValueError(f"hotkey: {value!r} is not an ss58 address")
    return value


def _uid(entry: Mapping[str, Any]) -> int:
    value = entry["uid"]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_UID:
        raise ValueError(f"uid: {value!r} is not a whole number from 0 to {MAX_UID}")
    return value


def _stake(entry: Mapping[str, Any]) -> float:
    value = entry["stake"]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(f"stake: {value!r} is not a number from 0 up")
    return float(value)


def _flag(entry: Mapping[str, Any], key: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key}: {value!r} is neither true nor false")
    return value


def _axon(entry: Mapping[str, Any]) -> str | None:
    value = entry.get("axon")
    if value is None:
        return None
    if not isinstance(value, str) or not is_endpoint(value):
        raise ValueError(f'axon: {value!r} is not an "ip:port"')
    return value

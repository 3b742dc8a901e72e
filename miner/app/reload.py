"""Reading the settings again while running: what takes effect, and what needs a restart.

Nothing is half applied: the new settings are read and checked whole before the first of them holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from miner.errors import BadOption
from miner.settings import ChainSettings, IdentitySettings, Settings
from miner.settings.memory import PrecisionMode

DAEMON, IDENTITY = "daemon.", "identity."
"""Beginnings of keys: of the daemon's, and among them of an identity's, whose name follows."""
LIVE = ("admission.", "queue.", "rollback.", "log.", "share")
NETWORK = "chain.network"
"""Live as well while it names a file or nobody, before and after: a chain's watch is built in."""
BUILT_IN = (
    "admission.nonce_window_seconds",
    "admission.max_nonce_timeout_seconds",
    "admission.future_skew_seconds",
    "admission.max_nonces",
    "rollback.primary",
    "rollback.generator",
    "rollback.residency",
    "rollback.keep_seconds",
)
"""Keys that a running daemon can change, of itself or of an identity, and those among them that it
cannot; all others are built into what is already running."""


@dataclass(frozen=True)
class Changes:
    """Keys that differ, as a file names them.

    Attributes:
        applied: hold from now on.
        waiting: hold after a restart.
    """

    applied: tuple[str, ...]
    waiting: tuple[str, ...]


def compare(old: Settings, new: Settings) -> Changes:
    """What changed between two readings of the settings."""
    before, after = dict(_flat(old.model_dump())), dict(_flat(new.model_dump()))
    changed = [key for key in sorted(before | after) if before.get(key) != after.get(key)]
    live = [key for key in changed if _is_live(key, old, new)]
    waiting = dict.fromkeys(_come_or_gone(key, old, new) for key in changed if key not in live)
    return Changes(tuple(map(_shown, live)), tuple(map(_shown, waiting)))


def live_part(old: Settings, new: Settings) -> Settings:
    """The settings that hold after a reload: the new ones where that is possible."""
    update: dict[str, Any] = {
        key: getattr(new.daemon, key) for key in ("admission", "queue", "rollback", "log")
    }
    update["chain"] = _live_chain(old.daemon.chain, new.daemon.chain)
    others = {one.name: one for one in new.daemon.identity}
    update["identity"] = tuple(
        _live_identity(one, others.get(one.name, one)) for one in old.daemon.identity
    )
    return old.model_copy(update={"daemon": old.daemon.model_copy(update=update)})


def _live_identity(old: IdentitySettings, new: IdentitySettings) -> IdentitySettings:
    chain = _live_chain(old.chain, new.chain)
    update = {"chain": chain, "admission": new.admission, "share": new.share}
    return old.model_copy(update=update)


def _live_chain(old: ChainSettings, new: ChainSettings) -> ChainSettings:
    if old.is_live or new.is_live:
        return old
    return old.model_copy(update={"network": new.network})


def in_precision(settings: Settings, mode: str) -> Settings:
    """The settings with another precision mode of the memory plan.

    Raises:
        BadOption: there is no such mode.
    """
    modes = get_args(PrecisionMode)
    if mode not in modes:
        raise BadOption(f"unknown precision {mode!r}; there are: {', '.join(modes)}")
    memory = settings.preset.memory.model_copy(update={"precision": mode})
    preset = settings.preset.model_copy(update={"memory": memory})
    return settings.model_copy(update={"preset": preset})


def _is_live(key: str, old: Settings, new: Settings) -> bool:
    name, own = _whose(key)
    if name is not None and not (_identity(name, old) and _identity(name, new)):
        return False
    if own == NETWORK:
        chains = [(_identity(name, one) if name else one.daemon).chain for one in (old, new)]  # type: ignore[union-attr]
        return not any(chain.is_live for chain in chains)
    return key.startswith(DAEMON) and own.startswith(LIVE) and own not in BUILT_IN


def _come_or_gone(key: str, old: Settings, new: Settings) -> str:
    """The key, or the whole identity that only one of them has."""
    name, _ = _whose(key)
    if name is None or (_identity(name, old) and _identity(name, new)):
        return key
    return f"{DAEMON}{IDENTITY}{name}"


def _whose(key: str) -> tuple[str | None, str]:
    """The identity that a key is of, where it is of one, and the key as that one has it."""
    own = key.removeprefix(DAEMON)
    if not own.startswith(IDENTITY):
        return None, own
    name, _, rest = own.removeprefix(IDENTITY).partition(".")
    return name, rest


def _identity(name: str, settings: Settings) -> IdentitySettings | None:
    return next((one for one in settings.daemon.identity if one.name == name), None)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}." == f"{DAEMON}{IDENTITY}":
            yield from _flat({one["name"]: one for one in value}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(key: str) -> str:
    return key.removeprefix(DAEMON).removeprefix("preset.")

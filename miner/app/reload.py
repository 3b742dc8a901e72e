"""Reading the settings again while running: what takes effect, and what needs a restart.

Nothing is half applied: the new settings are read and checked whole before the first of them holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from miner.errors import BadOption
from miner.settings import Settings
from miner.settings.memory import PrecisionMode

LIVE = ("daemon.admission.", "daemon.queue.", "daemon.rollback.", "daemon.log.")
NETWORK = "daemon.chain.network"
"""Live as well while it names a file or nobody, before and after: a chain's watch is built in."""
BUILT_IN = (
    "daemon.admission.nonce_window_seconds",
    "daemon.admission.max_nonce_timeout_seconds",
    "daemon.admission.future_skew_seconds",
    "daemon.admission.max_nonces",
    "daemon.rollback.primary",
    "daemon.rollback.generator",
    "daemon.rollback.residency",
    "daemon.rollback.keep_seconds",
)
"""Keys that a running daemon can change, and those among them that it cannot; all others are built
into what is already running."""


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
    return Changes(
        tuple(map(_shown, live)), tuple(_shown(key) for key in changed if key not in live)
    )


def live_part(old: Settings, new: Settings) -> Settings:
    """The settings that hold after a reload: the new ones where that is possible."""
    update = {key: getattr(new.daemon, key) for key in ("admission", "queue", "rollback", "log")}
    if _is_live(NETWORK, old, new):
        chain = old.daemon.chain.model_copy(update={"network": new.daemon.chain.network})
        update["chain"] = chain
    return old.model_copy(update={"daemon": old.daemon.model_copy(update=update)})


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
    if key == NETWORK:
        return not (old.daemon.chain.is_live or new.daemon.chain.is_live)
    return key.startswith(LIVE) and key not in BUILT_IN


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(key: str) -> str:
    return key.removeprefix("daemon.").removeprefix("preset.")

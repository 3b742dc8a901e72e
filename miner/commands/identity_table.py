"""Our hotkeys in service as commands show them: one row each, where there are several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from miner.commands.top_words import duration, plain

HEADINGS = ("identity", "hotkey", "waiting", "peers", "read", "standing", "state")
NUMBERS = ("waiting", "peers", "read")
HOTKEY_CHARACTERS = 10
NONE = "-"
SHORTER = ("identity", "waiting", "standing", "state")
SHORTEST = ("identity", "waiting", "state")
"""What is shown where there is not room for all."""


def several(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The identities of a status where there is more than one; of a single one all else speaks."""
    found = status.get("identities") or []
    return found if len(found) > 1 else []


def rows(identities: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One of each, by the headings, without those that are not known of any."""
    found = [_row(one) for one in identities]
    told = [name for name in HEADINGS if any(row[name] != NONE for row in found)]
    return [{name: row[name] for name in told} for row in found]


def _row(identity: Mapping[str, Any]) -> dict[str, str]:
    """The last cell says "ready", or what keeps it from that."""
    peers = identity.get("peers") or {}
    age = peers.get("age_seconds")
    values = (
        plain(identity.get("name")),
        short(identity.get("hotkey")) or NONE,
        str(identity.get("waiting", 0)),
        str(peers.get("count", NONE)),
        f"{duration(age)} ago" if age else NONE,
        standing(identity.get("chain")),
        _state(identity.get("reasons") or []),
    )
    return dict(zip(HEADINGS, values, strict=True))


def standing(chain: Mapping[str, Any] | None) -> str:
    """Our place in a subnet, in few words; a dash where no chain is watched."""
    if chain is None:
        return NONE
    netuid, found = chain.get("netuid"), chain.get("standing")
    if not found:
        return f"netuid {netuid} not read yet"
    if not found.get("registered"):
        return f"not registered on {netuid}"
    rank = f"rank {found.get('rank')} of {found.get('neurons')}"
    return f"uid {found.get('uid')} on {netuid}, {rank}"


def lines(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of plain text, as wide as what is in it."""
    told = rows(identities)
    names = {name: name for name in told[0]}
    widths = {name: max(len(row[name]) for row in (names, *told)) for name in names}
    return [
        "  ".join(
            f"{text:>{widths[name]}}" if name in NUMBERS else f"{text:<{widths[name]}}"
            for name, text in row.items()
        ).rstrip()
        for row in (names, *told)
    ]


def short(hotkey: Any) -> str:
    """The beginning of an address, enough to know it again."""
    text = plain(hotkey or "")
    return text if len(text) <= HOTKEY_CHARACTERS else f"{text[:HOTKEY_CHARACTERS]}…"


def _state(reasons: Sequence[str]) -> str:
    if not reasons:
        return "ready"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return plain(reasons[0]) + more

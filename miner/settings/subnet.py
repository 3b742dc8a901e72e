"""Settings of who this miner is on which subnet: the wallet and the chain.

Durations are seconds. Of the wallet only the hotkey is ever read, never the coldkey.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from miner.settings.section import Section

STATIC = "static:"
NETWORKS = ("finney", "test", "local")
WALLETS = Path("~/.bittensor/wallets")
"""Where wallets lie by custom."""


def is_beside_us(network: str) -> bool:
    """Whether this network's node lies in private address ranges, and so may its peers."""
    host = urlsplit(network).hostname if "//" in network else network
    if host in ("local", "localhost"):
        return True
    try:
        return not ipaddress.ip_address(host or "").is_global
    except ValueError:
        return False


class WalletSettings(Section):
    """Who this miner is.

    The key is looked for at the first of: ``hotkey_file``; the standard folder, where ``name`` is
    set; systemd's credential ``hotkey``.

    Attributes:
        hotkey_file: the standard key file of the hotkey.
        path: the folder of all wallets, for ``name``.
        name: of the wallet, as its folder is called; empty looks for none.
        hotkey: name of the key inside that wallet.
        password_file: its first line is the password of an encrypted hotkey.
    """

    hotkey_file: Path | None = None
    path: Path = WALLETS
    name: str = ""
    hotkey: str = "default"
    password_file: Path | None = None

    @field_validator("name", "hotkey")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if "/" in value or value in (".", ".."):
            raise ValueError("is a name, not a path; wallet.path is the folder")
        return value


class ChainSettings(Section):
    """Where the subnet's peers come from.

    Attributes:
        network: "finney", "test", "local" or a ws:// or wss:// URL; ``static:FILE`` is a TOML file
            of peers instead of a chain; empty knows nobody.
        netuid: the subnet.
        sync_seconds: from one reading of the metagraph to the next; each wait is drawn from up to
            ``jitter`` of it less or more, so that many miners do not ask at once.
        jitter: share of a wait, 0 to 0.5.
        timeout_seconds: a call to the chain that takes longer is given up, with its connection.
        retry_seconds, max_retry_seconds: the wait after a failure doubles with each in a row, from
            one to the other.
    """

    network: str = ""
    netuid: int = Field(default=17, ge=0, le=65_535)
    sync_seconds: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    jitter: float = Field(default=0.1, ge=0, le=0.5)
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0
    retry_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    max_retry_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0

    @property
    def is_live(self) -> bool:
        """Whether a chain is asked, rather than a file or nobody."""
        return bool(self.network) and not self.network.startswith(STATIC)

    @field_validator("network")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if not value or value.startswith(STATIC) or value in NETWORKS:
            return value
        url = urlsplit(value)
        if url.scheme in ("ws", "wss") and url.hostname:
            return value
        known = ", ".join(NETWORKS)
        raise ValueError(f"is none of static:FILE, {known}, or a ws:// or wss:// URL")

    @model_validator(mode="after")
    def _check(self) -> ChainSettings:
        if self.max_retry_seconds < self.retry_seconds:
            raise ValueError("max_retry_seconds: must be at least retry_seconds")
        return self

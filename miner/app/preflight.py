"""What must hold before anything is started: found out in a moment, not after minutes of loading.

A failure here is the operator's to mend and never restarted (exit status 78).
"""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from miner.admission.peers import PeersSnapshot, read_static_peers
from miner.errors import ConfigError
from miner.settings import DaemonSettings

STATIC = "static:"
LEAST_FREE_BYTES = 64 * 1024 * 1024
"""A journal that cannot grow loses promises; results of an hour take some hundred MiB."""


def check(settings: DaemonSettings) -> None:
    """Does nothing where the daemon can start.

    Raises:
        ConfigError: nothing is switched on, a hotkey is needed and missing, ``chain`` is not
            understood, or the disk is full.
    """
    if not (settings.axon.enabled or settings.api.enabled):
        raise ConfigError("axon.enabled, api.enabled: both are off, nobody could ask for anything")
    if settings.axon.enabled and settings.wallet.hotkey_file is None:
        raise ConfigError(
            "wallet.hotkey_file: is not set, and validators sign for a hotkey; name the key file, "
            "or set axon.enabled = false to serve the HTTP API alone"
        )
    _check_disk(settings.state_dir)


def raise_open_files() -> None:
    """Lets the process hold as many sockets and files as the system allows it to ask for.

    The usual soft limit of 1,024 is less than the servers' limits of connections together.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def initial_peers(chain: str) -> PeersSnapshot:
    """The peers to begin with.

    Raises:
        ConfigError: ``chain`` is not understood, or its file is not right.
    """
    if not chain:
        return PeersSnapshot.of()
    if not chain.startswith(STATIC):
        raise ConfigError(f"chain: {chain!r} is not known; use static:FILE")
    return read_static_peers(Path(chain.removeprefix(STATIC)))


def _check_disk(folder: Path) -> None:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE_BYTES:
        raise ConfigError(
            f"state_dir: {free // 2**20} MiB are free at {existing}, too few for the journal; "
            "make room or set another folder"
        )

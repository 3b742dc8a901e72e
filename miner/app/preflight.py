"""What must hold before anything is started: found out in a moment, not after minutes of loading.

A failure here is the operator's to mend and never restarted (exit status 78).
"""

from __future__ import annotations

import ipaddress
import math
import resource
import shutil
from pathlib import Path

from miner.admission.peers import PeersSnapshot, read_static_peers
from miner.admission.signature import Signer
from miner.admission.wallet import Surroundings, open_hotkey
from miner.errors import ConfigError
from miner.settings import DaemonSettings, credentials_folder, hotkey_password
from miner.settings.daemon import DETECT
from miner.settings.subnet import STATIC, is_beside_us

LEAST_FREE_BYTES = 64 * 1024 * 1024
"""A journal that cannot grow loses promises; results of an hour take some hundred MiB."""


def check(settings: DaemonSettings) -> None:
    """Does nothing where the daemon can start.

    Raises:
        ConfigError: an intake has nobody to ask, what is to be published cannot be reached, or the
            disk is full.
    """
    if "gateway" in settings.intakes and not settings.gateway.urls:
        raise ConfigError('gateway.urls: names no gateway to ask; intakes has "gateway"')
    if "pull" in settings.intakes and not settings.chain.network:
        raise ConfigError(
            'chain.network: knows no validator to ask; intakes has "pull". '
            'Name the network, or a file of peers as "static:FILE"'
        )
    _check_published(settings)
    _check_disk(settings.state_dir)


def raise_open_files() -> None:
    """Lets the process hold as many sockets and files as the system allows it to ask for.

    The usual soft limit of 1,024 is less than the servers' limits of connections together.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def our_hotkey(settings: DaemonSettings) -> Signer | None:
    """The key that signs for this miner; None where no intake needs one.

    Raises:
        ConfigError: it is needed, and none is named or it cannot be opened.
    """
    if not settings.signs:
        return None
    return open_hotkey(settings.wallet, Surroundings(credentials_folder(), hotkey_password()))


def initial_peers(network: str) -> PeersSnapshot:
    """The peers to begin with: those of a file, or none; of a chain, none and too old to be used.

    Raises:
        ConfigError: the file is not right.
    """
    if not network:
        return PeersSnapshot.of()
    if not network.startswith(STATIC):
        return PeersSnapshot.of(taken_at=-math.inf)
    return read_static_peers(Path(network.removeprefix(STATIC)))


def _check_published(settings: DaemonSettings) -> None:
    """An address that nobody can reach must not go to the chain: it costs a fee, and validators."""
    axon, network = settings.axon, settings.chain.network
    if not settings.chain.is_live or axon.publish == "never" or axon.external_ip in ("", DETECT):
        return
    if not (ipaddress.ip_address(axon.external_ip).is_global or is_beside_us(network)):
        raise ConfigError(
            f"axon.external_ip: {axon.external_ip} is not a public address, and {network} is a "
            "public network; set the address that validators reach"
        )
    if axon.serve_prometheus and not settings.metrics.enabled:
        raise ConfigError("axon.serve_prometheus: is on while metrics.enabled is off")


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

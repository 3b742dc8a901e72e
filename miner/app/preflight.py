"""What must hold before anything is started: found out in a moment, not after minutes of loading.

The checks themselves are those of ``miner doctor``. A failure that stops the start is the
operator's to mend and never restarted (exit status 78); any other is told in the log.
"""

from __future__ import annotations

import math
import resource
from pathlib import Path

import structlog

from miner.admission.peers import PeersSnapshot, read_static_peers
from miner.admission.signature import Signer
from miner.admission.wallet import open_hotkey
from miner.doctor.case import Case, Host
from miner.doctor.examine import examine
from miner.doctor.wallet import check_distinct, given
from miner.network.token import CREDENTIAL, is_loopback, read_token
from miner.settings import ApiSettings, DaemonSettings, Settings, credentials_folder
from miner.settings.subnet import STATIC

log = structlog.get_logger(__name__)

HERE = Host()
"""The machine we run on."""


async def check(settings: Settings, host: Host = HERE) -> None:
    """Returns where the daemon can start.

    Args:
        settings: of the daemon.
        host: the machine it is to run on.

    Raises:
        StartupError: it cannot; the first failure by the order of the checks.
    """
    findings = await examine(Case(settings, host, starting=True))
    for finding in findings:
        if finding.stops is not None:
            raise finding.error()
    for finding in findings:
        if finding.status in ("warn", "fail"):
            told = {"reason": finding.reason, "mend": finding.mend}
            log.warning("check", name=finding.name, found=finding.line, **told)


def raise_open_files() -> None:
    """Lets the process hold as many sockets and files as the system allows it to ask for.

    The usual soft limit of 1,024 is less than the servers' limits of connections together.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def our_hotkeys(settings: DaemonSettings) -> dict[str, Signer]:
    """The keys that sign, by the names of their identities; none where no intake needs one.

    Raises:
        ConfigError: one is needed, and none is named or it cannot be opened; or two are the same.
    """
    found: dict[str, Signer] = {}
    for identity in settings.identities:
        if identity.intakes:
            found[identity.name] = open_hotkey(identity.wallet, given(), identity.name)
    check_distinct({name: signer.ss58_address for name, signer in found.items()})
    return found


def api_token(api: ApiSettings) -> str | None:
    """The token of the HTTP API; None where none is set.

    Raises:
        ConfigError: it is set and cannot be used.
    """
    path, folder = api.token_file, credentials_folder()
    if path is None and folder is not None and (folder / CREDENTIAL).is_file():
        path = folder / CREDENTIAL
    return None if path is None else read_token(path)


def shows_page(api: ApiSettings, token: str | None) -> bool:
    """Whether the operator's page is there: never where others reach it and nobody is asked."""
    if api.page and token is None and not is_loopback(api.host):
        log.warning("page_off", reason="api.host is not loopback and there is no api.token_file")
        return False
    return api.page


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

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
from miner.doctor.case import Case
from miner.doctor.examine import examine
from miner.doctor.wallet import given
from miner.settings import DaemonSettings, Settings
from miner.settings.subnet import STATIC

log = structlog.get_logger(__name__)


async def check(settings: Settings) -> None:
    """Returns where the daemon can start.

    Raises:
        StartupError: it cannot; the first failure by the order of the checks.
    """
    findings = await examine(Case(settings, starting=True))
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


def our_hotkey(settings: DaemonSettings) -> Signer | None:
    """The key that signs for this miner; None where no intake needs one.

    Raises:
        ConfigError: it is needed, and none is named or it cannot be opened.
    """
    if not settings.signs:
        return None
    return open_hotkey(settings.wallet, given())


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

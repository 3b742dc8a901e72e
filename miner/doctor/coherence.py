"""Settings that are each valid and cannot be meant together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from miner.admission.peers import read_static_peers
from miner.doctor.case import Case
from miner.doctor.finding import Finding, ok, warn
from miner.doctor.weights import DREAMGAUSSIAN
from miner.errors import ConfigError
from miner.job import MAIN
from miner.settings import DaemonSettings, IdentitySettings, MetricsSettings, Settings
from miner.settings.listening import DETECT
from miner.settings.subnet import STATIC, is_beside_us


async def look_at_settings(case: Case) -> Finding:
    """They were read; do they make a daemon?"""
    settings = case.settings
    require_coherent(settings.daemon)
    _check_offered(settings)
    for identity in settings.daemon.identities:
        if identity.chain.network.startswith(STATIC):
            read_static_peers(Path(identity.chain.network.removeprefix(STATIC)))
    doors = ", ".join(dict.fromkeys(_intakes(settings.daemon)))
    line = f"preset {settings.preset.name}, device {settings.device}, work by {doors}"
    worker = settings.daemon.worker
    if worker.executor == "local" and worker.count < len(worker.spread):
        reason = f"worker.spread names {len(worker.spread)} generators, worker.count is less"
        return warn(line, f"{reason}: there is nothing to roll back to", "raise worker.count")
    return ok(line)


def require_coherent(settings: DaemonSettings) -> None:
    """Does nothing where the settings agree.

    Raises:
        ConfigError: an intake has nobody to ask, workers are to hold what is not named, or what is
            to be published cannot be reached.
    """
    _check_spread(settings)
    for identity in settings.identities:
        where = "" if identity.name == MAIN else f"identity {identity.name}: "
        _check_asked(identity, where)
        _check_published(identity, settings.metrics, where)


def _intakes(settings: DaemonSettings) -> Iterator[str]:
    for identity in settings.identities:
        yield from identity.intakes
    if "http" in settings.intakes:
        yield "http"


def _check_asked(identity: IdentitySettings, where: str) -> None:
    if "gateway" in identity.intakes and not identity.gateway.urls:
        raise ConfigError(f'{where}gateway.urls: names no gateway to ask; intakes has "gateway"')
    if "pull" in identity.intakes and not identity.chain.network:
        raise ConfigError(
            f'{where}chain.network: knows no validator to ask; intakes has "pull". '
            'Name the network, or a file of peers as "static:FILE"'
        )


def _check_spread(settings: DaemonSettings) -> None:
    spread, rollback = settings.worker.spread, settings.rollback
    if strangers := [name for name in spread if name not in rollback.names]:
        raise ConfigError(
            f"worker.spread: {strangers[0]!r} is neither rollback.primary nor rollback.generator"
        )
    if spread and rollback.primary not in spread:
        raise ConfigError(
            f"worker.spread: leaves out rollback.primary, which is {rollback.primary!r}"
        )


def _check_offered(settings: Settings) -> None:
    """A worker that holds one generator alone cannot do without the preset's word on it."""
    preset = settings.preset
    if DREAMGAUSSIAN in settings.daemon.worker.spread and not preset.dreamgaussian.config:
        raise ConfigError(
            f"worker.spread: preset {preset.name} does not say how to run {DREAMGAUSSIAN}"
        )


def _check_published(identity: IdentitySettings, metrics: MetricsSettings, where: str) -> None:
    """An address that nobody can reach must not go to the chain: it costs a fee, and validators."""
    axon, chain = identity.axon, identity.chain
    if not chain.is_live or axon.publish == "never" or axon.external_ip in ("", DETECT):
        return
    if not (ipaddress.ip_address(axon.external_ip).is_global or is_beside_us(chain.network)):
        raise ConfigError(
            f"{where}axon.external_ip: {axon.external_ip} is not a public address, and "
            f"{chain.network} is a public network; set the address that validators reach"
        )
    if axon.serve_prometheus and not metrics.enabled:
        raise ConfigError(f"{where}axon.serve_prometheus: is on while metrics.enabled is off")

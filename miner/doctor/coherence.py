"""Settings that are each valid and cannot be meant together."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from miner.admission.peers import read_static_peers
from miner.doctor.case import Case
from miner.doctor.finding import Finding, ok, warn
from miner.doctor.weights import DREAMGAUSSIAN
from miner.errors import ConfigError
from miner.settings import DaemonSettings, Settings
from miner.settings.daemon import DETECT
from miner.settings.subnet import STATIC, is_beside_us


async def look_at_settings(case: Case) -> Finding:
    """They were read; do they make a daemon?"""
    settings = case.settings
    require_coherent(settings.daemon)
    _check_offered(settings)
    if settings.daemon.chain.network.startswith(STATIC):
        read_static_peers(Path(settings.daemon.chain.network.removeprefix(STATIC)))
    doors = ", ".join(settings.daemon.intakes)
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
    if "gateway" in settings.intakes and not settings.gateway.urls:
        raise ConfigError('gateway.urls: names no gateway to ask; intakes has "gateway"')
    if "pull" in settings.intakes and not settings.chain.network:
        raise ConfigError(
            'chain.network: knows no validator to ask; intakes has "pull". '
            'Name the network, or a file of peers as "static:FILE"'
        )
    _check_spread(settings)
    _check_published(settings)


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

"""Settings of one hotkey in service: an ``[[identity]]`` of ``config/miner.toml``.

A daemon without any serves one hotkey with the sections at the top. Where there are several, those
sections say what holds for all of them, and each table only what differs for its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from miner.job import MAIN
from miner.settings.admission import AdmissionSettings
from miner.settings.gateway import GatewaySettings
from miner.settings.listening import AxonSettings
from miner.settings.pull import PullSettings
from miner.settings.section import Section
from miner.settings.sources import merge
from miner.settings.subnet import ChainSettings, WalletSettings

SignedIntake = Literal["axon", "pull", "gateway"]
"""A way by which work comes that needs a hotkey."""

SHARED = ("chain", "wallet", "axon", "pull", "gateway", "admission")
"""Sections at the top of which an identity may say its own."""


class IdentitySettings(Section):
    """Who serves, where, whom, and for which part of the work.

    Attributes:
        name: in logs, metrics and the journal; "main" goes on with what a daemon without
            identities has remembered.
        share: of the workers' time beside the other identities, where all have work that waits.
        intakes: the ways by which its work comes.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")] = MAIN
    share: float = Field(default=1.0, gt=0, le=1000)
    intakes: tuple[SignedIntake, ...] = ()
    chain: ChainSettings = ChainSettings()
    wallet: WalletSettings = WalletSettings()
    axon: AxonSettings = AxonSettings()
    pull: PullSettings = PullSettings()
    gateway: GatewaySettings = GatewaySettings()
    admission: AdmissionSettings = AdmissionSettings()

    def server(self, name: str) -> str:
        """What a server of this identity is called among all servers."""
        return name if self.name == MAIN else f"{name}/{self.name}"


def credential(name: str, identity: str) -> str:
    """What systemd's credential of an identity is called: main's has the plain name."""
    return name if identity == MAIN else f"{name}.{identity}"


def signed(intakes: Any) -> Any:
    """Those of some intakes that need a hotkey."""
    return tuple(intake for intake in intakes if intake != "http")


def laid_over(top: Mapping[str, Any], entries: Any) -> Any:
    """The tables of identities with the sections at the top laid under each, not validated yet.

    Args:
        top: keys at the top as they were set.
        entries: of ``identity``; what is no list of tables is left for validation to refuse.
    """
    if not isinstance(entries, list | tuple):
        return entries
    beneath = {key: top[key] for key in SHARED if isinstance(top.get(key), Mapping)}
    intakes = top.get("intakes", ("axon",))
    beneath["intakes"] = signed(intakes) if isinstance(intakes, list | tuple) else intakes
    return [merge(beneath, one) if isinstance(one, Mapping) else one for one in entries]

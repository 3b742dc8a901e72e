"""The parts of a running daemon in one place, as operators' pages and verbs see them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miner.admission.gate import Gate
from miner.admission.peers import PeersSnapshot, PeersSource
from miner.app.executors import PoolExecutor
from miner.app.rollback import Rollback
from miner.errors import UnknownRoute
from miner.job_queue import JobQueue
from miner.journal import Journal
from miner.metrics import Metrics
from miner.network.chain_reading import ChainState
from miner.network.chain_watch import ChainWatch
from miner.network.gateway.intake import GatewayIntake
from miner.network.intake import ValidatorIntake
from miner.network.puller import Puller
from miner.settings import QueueSettings, Settings
from miner.version import VERSION


@dataclass
class Parts:
    """What ``app/daemon.py`` has built. It alone writes here; implements ``DaemonView``.

    Attributes:
        settings: those that hold; a reload replaces them.
        hotkey: ours, where validators are served.
        gate, intake: likewise.
        gateway: where gateways are asked for work.
        puller: where validators are asked for tasks.
        watch: of the chain, where one is named and we have a hotkey.
        breaker: decides which generator new jobs go to.
        addresses: where each server listens, by its name; filled as they come up.
        open: whether the doors for work are open.
    """

    settings: Settings
    metrics: Metrics
    journal: Journal
    executor: PoolExecutor
    queue: JobQueue
    peers_source: PeersSource
    hotkey: str | None
    gate: Gate | None = None
    intake: ValidatorIntake | None = None
    gateway: GatewayIntake | None = None
    puller: Puller | None = None
    watch: ChainWatch | None = None
    breaker: Rollback | None = None
    addresses: dict[str, str] = field(default_factory=dict)
    open: bool = False
    started_at: float = field(default_factory=time.monotonic)
    version: str = VERSION

    @property
    def generator(self) -> str | None:
        """What new jobs go to."""
        return self.breaker.breaker.generator if self.breaker else None

    @property
    def rollback(self) -> Mapping[str, Any] | None:
        """How the breaker is."""
        return self.breaker.report() if self.breaker else None

    @property
    def preset(self) -> str:
        """Its name."""
        return self.settings.preset.name

    @property
    def device(self) -> str:
        """What the models run on: what the workers say, or what was asked for."""
        found = {worker.device for worker in self.executor.health().workers if worker.device}
        return ", ".join(sorted(found)) or self.settings.device

    @property
    def queue_settings(self) -> QueueSettings:
        """Those that hold now."""
        return self.settings.daemon.queue

    @property
    def peers(self) -> PeersSnapshot | None:
        """The subnet's hotkeys, where validators are served."""
        return self.peers_source() if self.hotkey else None

    @property
    def chain(self) -> ChainState | None:
        """How it is with the chain, where one is watched."""
        return self.watch.state if self.watch else None

    def validators(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks.

        Raises:
            UnknownRoute: none are.
        """
        if self.puller is None:
            raise UnknownRoute('no validator is asked for tasks: intakes has no "pull"')
        return self.puller.report()

    def gateways(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks."""
        return () if self.gateway is None else self.gateway.lines()

    def troubles(self) -> Sequence[str]:
        """What keeps it from taking work, beside workers, queue and journal."""
        found = [] if self.open else ["starting or stopping"]
        if self.watch is not None:
            found += self.watch.troubles(self.settings.daemon.admission.max_peers_age_seconds)
        return found

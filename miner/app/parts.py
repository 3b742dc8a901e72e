"""The parts of a running daemon in one place, as operators' pages and verbs see them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miner.app.executors import PoolExecutor
from miner.app.identities import Identities
from miner.app.identity import Identity
from miner.app.rollback import Rollback
from miner.errors import UnknownRoute
from miner.job_queue import JobQueue
from miner.journal import Journal
from miner.metrics import Metrics
from miner.settings import QueueSettings, Settings
from miner.version import VERSION


@dataclass
class Parts:
    """What ``app/daemon.py`` has built. It alone writes here; implements ``DaemonView``.

    Attributes:
        settings: those that hold; a reload replaces them.
        keeper: of the hotkeys that are served.
        breaker: decides which generator new jobs go to.
        addresses: where each server listens, by its name; filled as they come up.
        open: whether the doors for work are open.
    """

    settings: Settings
    metrics: Metrics
    journal: Journal
    executor: PoolExecutor
    queue: JobQueue
    keeper: Identities
    breaker: Rollback
    addresses: dict[str, str] = field(default_factory=dict)
    open: bool = False
    started_at: float = field(default_factory=time.monotonic)
    version: str = VERSION

    @property
    def generator(self) -> str:
        """What new jobs go to."""
        return self.breaker.breaker.generator

    @property
    def rollback(self) -> Mapping[str, Any]:
        """How the breaker is."""
        return self.breaker.report()

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
    def identities(self) -> Sequence[Identity]:
        """Every hotkey that is served."""
        return self.keeper.all

    def validators(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks, with the identity that asks them.

        Raises:
            UnknownRoute: none are.
        """
        asking = [one for one in self.identities if "pull" in one.settings.intakes]
        if not asking:
            raise UnknownRoute('no validator is asked for tasks: intakes has no "pull"')
        return [{"identity": one.name, **line} for one in asking for line in one.validators()]

    def gateways(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks, with the identity that asks them."""
        found = ((one.name, line) for one in self.identities for line in one.gateways())
        return [{"identity": name, **line} for name, line in found]

    def troubles(self) -> Sequence[str]:
        """What keeps it from taking work, beside workers, queue and journal."""
        return self.keeper.reasons() if self.open else ["starting or stopping"]

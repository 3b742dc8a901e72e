"""What the engines of workers are told: the same for all, or one generator for each alone.

Supervisors tell by the identity of a configuration whether a life still has the right one: there is
one object for each kind of worker, until new settings bring others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miner.settings import RollbackSettings, Settings
from miner.workers.spread import ALL, Spread


class Configurations:
    """Those of one reading of the settings, as JSON values.

    Attributes:
        whole: of a worker that holds every generator.
    """

    def __init__(self, settings: Settings, spread: Spread) -> None:
        rollback, names = settings.daemon.rollback, spread.weights
        self.whole = configuration(settings, rollback)
        self._alone = {name: configuration(settings, rollback.alone(name)) for name in names}

    def of(self, share: str) -> Mapping[str, Any]:
        """Of a worker with this generator alone, or ``ALL``."""
        return self._alone.get(share, self.whole)

    def like(self, other: Mapping[str, Any]) -> Mapping[str, Any]:
        """The one that holds what another reading's does."""
        return self.of(self.share_of(other))

    def share_of(self, other: Mapping[str, Any]) -> str:
        """The generator that a configuration names alone, where they are spread; else ``ALL``."""
        return str(other["rollback"]["primary"]) if self._alone else ALL


def configuration(settings: Settings, rollback: RollbackSettings) -> Mapping[str, Any]:
    """What an engine needs to know; nothing of the daemon's own settings.

    Args:
        settings: of the models.
        rollback: which generators it holds.
    """
    return {
        "preset": settings.preset.model_dump(mode="json"),
        "device": settings.device,
        "weights": str(settings.weights),
        "rollback": rollback.model_dump(mode="json"),
        "overlap": settings.daemon.worker.overlap,
    }

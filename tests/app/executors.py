"""The executors that a test's daemon may have: worker processes, or actors of a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.app.running import Running, daemon
from tests.ray_workers.clusters import cluster, needs_ray

Sections = Mapping[str, Mapping[str, Any]]

LOCAL = "local"
ON_RAY = pytest.param("ray", marks=needs_ray)
ALONE = pytest.param("ray alone", marks=needs_ray)
"""On the cluster that a daemon without an address starts for itself."""

MOST_WORKERS = 2


@dataclass(frozen=True)
class Executor:
    """What a daemon's workers are and where.

    Attributes:
        settings: that choose it.
    """

    settings: Sections

    @property
    def on_ray(self) -> bool:
        return "ray" in self.settings

    def jobs(self, local: int, ray: int) -> int:
        """How many a test has the time for: those of actors cost tens of milliseconds each."""
        return ray if self.on_ray else local

    def running(
        self, folder: Path, engine: str, workers: int = 1, **sections: Mapping[str, Any]
    ) -> Running:
        """A daemon's folder with so many workers in its settings; not started."""
        return Running(folder, engine, **self._joined(workers, sections))

    def daemon(
        self, folder: Path, engine: str = "Quick", workers: int = 1, **sections: Mapping[str, Any]
    ) -> contextlib.AbstractAsyncContextManager[Running]:
        """A daemon that is ready, with so many workers; killed at the end if it still runs."""
        return daemon(folder, engine, **self._joined(workers, sections))

    def _joined(self, workers: int, sections: Sections) -> dict[str, dict[str, Any]]:
        assert workers <= MOST_WORKERS
        counted: Sections = {"worker": {"count": workers}, "ray": {"workers": workers}}
        layers = (self.settings, counted, sections)
        names = {name for layer in layers for name in layer}
        return {
            name: {key: value for layer in layers for key, value in layer.get(name, {}).items()}
            for name in names
        }


@contextlib.contextmanager
def executor_named(name: str) -> Iterator[Executor]:
    """One of those above, with the cluster that it needs."""
    if name == LOCAL:
        yield Executor({})
        return
    # Calls come late where the cores are busy with the actors that start.
    worker = {"executor": "ray", "hang_seconds": 20.0}
    if name == "ray alone":
        yield Executor({"worker": worker, "ray": {"address": ""}})
        return
    with cluster(nodes=MOST_WORKERS) as nodes:
        yield Executor({"worker": worker, "ray": {"address": nodes.address}})

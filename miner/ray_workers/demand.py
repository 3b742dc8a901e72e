"""How many workers a cluster should have now, and what each asks Ray for. Arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from miner.ray_workers.wire import Node
from miner.settings import RaySettings

ROUNDING = 1e-9
"""Halves and thirds of a card add up to it all the same."""


@dataclass(frozen=True)
class Demand:
    """What is wanted of the cluster.

    Attributes:
        count: workers.
        gpus: of each; 0 where the models run on CPUs.
        cpus: of each.
        memory_bytes: of each; 0 asks for none.
    """

    count: int
    gpus: float
    cpus: float
    memory_bytes: int


def demand(device: str, settings: RaySettings, nodes: Sequence[Node], had_gpus: bool) -> Demand:
    """What is wanted of these nodes.

    Args:
        device: the setting: "auto" wants GPUs where there are or were any.
        settings: the cluster's.
        nodes: those alive.
        had_gpus: whether there ever was a GPU.
    """
    wants_gpus = device == "cuda" or (device == "auto" and (had_gpus or has_gpus(nodes)))
    gpus = settings.gpus_per_worker if wants_gpus else 0.0
    cpus = settings.cpus_per_worker
    if settings.workers:
        count = settings.workers
    elif gpus:
        count = sum(math.floor(node.gpus / gpus + ROUNDING) for node in nodes)
    else:
        count = sum(node.cpus >= max(cpus, ROUNDING) for node in nodes)
    return Demand(count, gpus, cpus, settings.memory_bytes)


def has_gpus(nodes: Sequence[Node]) -> bool:
    """Whether any has one."""
    return any(node.gpus > 0 for node in nodes)

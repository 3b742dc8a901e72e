"""What the daemon and the bridge say to each other, and which versions go together.

    to the bridge      connect, spawn, tell, end
    from the bridge    joined | refused, nodes, born | unfit, said, gone, lost

``tell`` and ``said`` carry messages of a worker as they are (see ``workers/messages.py``), with the
key of the worker: one for each of its lives. Uses nothing of Ray.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from miner.version import VERSION

CONNECT, SPAWN, TELL, END = "connect", "spawn", "tell", "end"
JOINED, REFUSED, NODES = "joined", "refused", "nodes"
BORN, UNFIT, SAID, GONE, LOST = "born", "unfit", "said", "gone", "lost"


@dataclass(frozen=True)
class Node:
    """A living node of the cluster, with all that it has, in use or not."""

    id: str
    address: str
    gpus: float
    cpus: float


def nodes_of(head: Mapping[str, Any]) -> list[Node]:
    """What a ``nodes`` message says."""
    return [Node(**entry) for entry in head["nodes"]]


def versions(ray_version: str) -> dict[str, str]:
    """Of this process, by what they are of."""
    return {"miner": VERSION, "python": platform.python_version(), "ray": ray_version}


def mismatch(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """What does not go together, in words; None where all does.

    Python may differ in its last number; the others must be the same.
    """
    differing = [
        f"{name} {theirs.get(name, 'unknown')} there, {version} here"
        for name, version in ours.items()
        if _counted(name, theirs.get(name, "")) != _counted(name, version)
    ]
    return "; ".join(differing) or None


def _counted(name: str, version: str) -> Iterable[str]:
    parts = version.split(".")
    return parts[:2] if name == "python" else parts


def one_line(error: BaseException, limit: int = 300) -> str:
    """A foreign error's text for the log: its first lines in one, without its traceback."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."

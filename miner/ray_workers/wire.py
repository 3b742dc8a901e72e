"""What the daemon and the bridge say to each other, and which versions go together.

    to the bridge      connect, spawn, tell, end
    from the bridge    joined | refused, nodes, born | unfit, said, gone, lost

``tell`` and ``said`` carry messages of a worker (see ``workers/messages.py``) as their payload, one
framed after the other: nobody on the way looks into them. All have the key of the worker: one for
each of its lives. Uses nothing of Ray.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from miner.errors import ChannelError
from miner.version import VERSION
from miner.workers.channel import PREFIX_BYTES, Message, pack, unpack_head, unpack_prefix

CONNECT, SPAWN, TELL, END = "connect", "spawn", "tell", "end"
JOINED, REFUSED, NODES = "joined", "refused", "nodes"
BORN, UNFIT, SAID, GONE, LOST = "born", "unfit", "said", "gone", "lost"


def framed(message: Message) -> bytes:
    """A message as bytes, which others may follow.

    Raises:
        ChannelError: longer than a message may be.
    """
    return pack(message) + message.payload


def unframed(data: bytes) -> Iterator[Message]:
    """The messages that were framed one after the other.

    Raises:
        ChannelError: not such messages.
    """
    at = 0
    while at < len(data):
        head_at = at + PREFIX_BYTES
        if head_at > len(data):
            raise ChannelError("it ends in the middle of a message")
        head_bytes, payload_bytes = unpack_prefix(data[at:head_at])
        payload_at = head_at + head_bytes
        at = payload_at + payload_bytes
        if at > len(data):
            raise ChannelError("it ends in the middle of a message")
        yield Message(unpack_head(data[head_at:payload_at]), data[payload_at:at])


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

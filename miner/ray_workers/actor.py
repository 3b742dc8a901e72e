"""The actor: a worker inside a process that Ray placed, spoken to by calls instead of a socket.

It holds the same ``Worker`` as a process of the local executor does: the same messages, engine and
threads. ``tell`` brings a message in, ``listen`` waits for those that come out. Ray calls the two
on threads of their own. The process ends with the worker's, once its last message was fetched.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from miner.errors import ChannelError
from miner.ray_workers.wire import versions
from miner.workers.channel import Message
from miner.workers.worker import EXIT_DONE, EXIT_SOFTWARE, Worker

LISTEN_SECONDS = 5.0
"""After which a call without news returns, so that none is lost with a connection."""

LAST_SECONDS = 10.0
"""For the last messages to be fetched."""

MAX_BATCH = 64

Said = tuple[dict[str, Any], bytes]


class QueueChannel:
    """What ``Worker`` takes for its end of a channel."""

    def __init__(self) -> None:
        self.inward: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.outward: queue.SimpleQueue[Said | None] = queue.SimpleQueue()

    def send(self, head: Mapping[str, Any], payload: bytes = b"") -> None:
        """Puts a message where ``listen`` finds it."""
        self.outward.put((dict(head), payload))

    def receive(self) -> Message | None:
        """The next message that was told."""
        return self.inward.get()


class WorkerActor:
    """One worker on one node."""

    def __init__(self) -> None:
        self._channel = QueueChannel()

    def hello(self) -> dict[str, Any]:
        """Who answers: its process, its node's address, and its versions."""
        import ray  # noqa: PLC0415 - Ray made this process, and has imported itself here

        node = ray.util.get_node_ip_address()
        return {"pid": os.getpid(), "node": str(node), "versions": versions(ray.__version__)}

    def start(self, engine: str) -> None:
        """Begins to serve; ``engine`` as for a worker process."""
        threading.Thread(target=self._run, args=(engine,), name="worker", daemon=True).start()

    def tell(self, head: dict[str, Any], payload: bytes) -> None:
        """Brings the worker a message."""
        self._channel.inward.put(Message(head, payload))

    def listen(self) -> list[Said | None]:
        """What the worker has said since, after waiting for something; None is its end."""
        said: list[Said | None] = []
        try:
            said.append(self._channel.outward.get(timeout=LISTEN_SECONDS))
            while len(said) < MAX_BATCH:
                said.append(self._channel.outward.get_nowait())
        except queue.Empty:
            pass
        return said

    def _run(self, engine: str) -> None:
        try:
            code = Worker(self._channel, engine).run()
        except ChannelError:
            code = EXIT_DONE
        except BaseException:
            traceback.print_exc()
            code = EXIT_SOFTWARE
        self._channel.outward.put(None)
        threading.Event().wait(LAST_SECONDS)  # the bridge ends this process as it reads that
        sys.stderr.flush()
        os._exit(code)

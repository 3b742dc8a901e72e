"""The actor: a worker inside a process that Ray placed, spoken to by calls instead of a socket.

It holds the same ``Worker`` as a process of the local executor does: the same messages, engine and
threads. ``exchange`` carries messages both ways; Ray calls it on threads of their own. The process
ends with the worker's, once its last message was fetched.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import Any

from miner.errors import ChannelError
from miner.ray_workers.mailbox import Mailbox
from miner.ray_workers.wire import versions
from miner.workers.worker import EXIT_DONE, EXIT_SOFTWARE, Worker

LAST_SECONDS = 10.0
"""For the last messages to be fetched."""


class WorkerActor:
    """One worker on one node."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()

    def hello(self) -> dict[str, Any]:
        """Who answers: its process, its node's address, and its versions."""
        import ray  # noqa: PLC0415 - Ray made this process, and has imported itself here

        node = ray.util.get_node_ip_address()
        return {"pid": os.getpid(), "node": str(node), "versions": versions(ray.__version__)}

    def start(self, engine: str) -> None:
        """Begins to serve; ``engine`` as for a worker process."""
        threading.Thread(target=self._run, args=(engine,), name="worker", daemon=True).start()

    def exchange(self, number: int, told: bytes) -> bytes | None:
        """See ``Mailbox.exchange``."""
        return self._mailbox.exchange(number, told)

    def _run(self, engine: str) -> None:
        try:
            code = Worker(self._mailbox, engine).run()
        except ChannelError:
            code = EXIT_DONE
        except BaseException:
            traceback.print_exc()
            code = EXIT_SOFTWARE
        self._mailbox.end()
        threading.Event().wait(LAST_SECONDS)  # the bridge ends this process as it reads that
        sys.stderr.flush()
        os._exit(code)

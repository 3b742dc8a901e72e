"""The flag by which one thread asks another to stop; apart, so that it costs no import of torch."""

from __future__ import annotations

import threading

from miner.errors import JobCancelled


class CancelFlag:
    """Set by one thread, looked at by the stages between their steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Asks the work to stop at its next look."""
        self._event.set()

    def check(self) -> None:
        """Does nothing until the flag is set.

        Raises:
            JobCancelled: the flag is set.
        """
        if self._event.is_set():
            raise JobCancelled("cancelled by the caller")

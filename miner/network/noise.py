"""Turns what the HTTP library logs about bad requests into counters and a rare line.

The library writes a traceback for each malformed request, so that whoever sends rubbish fills the
disk. Here each is counted by kind, and at most one line a minute of a kind is written, which says
how many there were. Faults of our own handlers, which never should reach the library, keep their
traceback, as rarely.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

from miner.metrics import Metrics

QUIET_SECONDS = 60.0

log = logging.getLogger("miner.network")


class Summary(logging.Handler):
    """Takes the library's records; give it to a logger of its own (see ``quiet_logger``)."""

    def __init__(
        self, server: str, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(logging.INFO)
        self._server = server
        self._metrics = metrics
        self._clock = clock
        # By kind: when it was last written, and how many came since. Kinds are class names of
        # exceptions: few. Written by emit() only.
        self._written: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Counts the record, and writes a line if none of its kind was written lately."""
        error = record.exc_info[1] if record.exc_info else None
        kind = type(error).__name__ if error is not None else "other"
        foreign = isinstance(error, HttpProcessingError)
        if foreign:
            self._metrics.malformed(self._server, kind)
        now = self._clock()
        if now - self._written.get(kind, now - QUIET_SECONDS) < QUIET_SECONDS:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._written[kind] = now
        self._write(record, kind, foreign)

    def _write(self, record: logging.LogRecord, kind: str, foreign: bool) -> None:
        held = self._held.pop(kind, 0)
        if held:
            self._metrics.log_suppressed(f"http_{kind}", held)
        more = f", and {held} more since the last such line" if held else ""
        if foreign:
            log.warning("%s: malformed request (%s)%s", self._server, kind, more)
        else:
            log.error("%s: %s%s", self._server, record.getMessage(), more, exc_info=record.exc_info)


def quiet_logger(server: str, metrics: Metrics) -> logging.Logger:
    """A logger for one server's library, known to no other part of the program."""
    logger = logging.Logger(f"{server}.http", logging.INFO)  # not shared by name
    logger.addHandler(Summary(server, metrics))
    return logger

"""Signals as the daemon understands them.

SIGTERM and SIGINT ask for an orderly stop, a second one ends the process at once, SIGHUP asks for
the settings to be read again. Nothing here decides what a stop or a reload does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import structlog

STOPPING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def handled(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """While the block runs, signals call these in the event loop.

    A second stopping signal ends the process without any clean-up: the journal is on disk at every
    moment, and workers end when this process does.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def on_stop(number: signal.Signals) -> None:
        nonlocal asked
        if asked:
            log.warning("stopped_at_once", signal=number.name)
            os._exit(128 + number)
        asked = True
        log.info("stop_asked", signal=number.name, hint="once more ends at once")
        stop()

    for number in STOPPING:
        loop.add_signal_handler(number, on_stop, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number in (*STOPPING, signal.SIGHUP):
            loop.remove_signal_handler(number)

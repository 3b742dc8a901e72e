"""How the daemon tells what it does: one line for each event, as JSON or for a person's eyes.

structlog and the standard library's logging (aiohttp, asyncio, warnings) come out alike. A job's id
is bound for a block of code and everything it awaits, so that all lines of a job carry it. Nothing
is set up on import; ``configure`` does that, once, in the process that owns the stream.

What came from outside can neither break a line nor move a terminal's cursor, and texts are cut to
``MAX_TEXT_CHARACTERS``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

MAX_TEXT_CHARACTERS = 2000
MAX_KINDS = 64
"""That a throttle tells apart; further ones share one."""

OTHER = "other"
FIRST = ("time", "level", "event")
"""What every line begins with in JSON."""

TRACES = ("exception", "stack")
"""Fields that are made of tracebacks: long, with line ends, and on purpose."""


class LogOptions(Protocol):
    """What is read of the settings' ``LogSettings``."""

    @property
    def level(self) -> str:
        """One of "debug", "info", "warning", "error"."""

    @property
    def format(self) -> str:
        """One of "json", "console" and "auto": the latter on a terminal, the former elsewhere."""


def configure(options: LogOptions, stream: TextIO) -> None:
    """Sends everything that is logged in this process to ``stream``; may be called again.

    Args:
        options: the level and the form of the lines.
        stream: flushed after every line; the caller closes it.
    """
    console = options.format == "console" or (options.format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(console, colors=console and stream.isatty()))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        if getattr(old, "_miner_logs", False):
            root.removeHandler(old)
    handler._miner_logs = True  # type: ignore[attr-defined]  # so that a second call finds it
    root.addHandler(handler)
    root.setLevel(options.level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # loggers made before this call follow it too
    )


@contextmanager
def bound_job(job_id: str) -> Iterator[None]:
    """Lines logged in the block, and in tasks begun in it, carry the job's id."""
    with bound_contextvars(job=job_id):
        yield


class Throttle:
    """Lets one line of a kind through in a while, and says how many it did not.

    For events that somebody outside can cause as often as they like. The next line of a kind
    carries the number of those dropped before it; ``flush`` tells of kinds that have gone quiet.

    Args:
        write: where lines go, as in ``log.warning``.
        seconds: between two lines of one kind.
        suppressed: told of each dropped line, as in ``Metrics.log_suppressed``.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[..., object],
        seconds: float = 60.0,
        suppressed: Callable[[str, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._seconds = seconds
        self._suppressed = suppressed
        self._clock = clock
        self._written_at: dict[str, float] = {}
        self._dropped: Counter[str] = Counter()

    def __call__(self, kind: str, event: str, /, **fields: object) -> bool:
        """Writes the line or counts it as dropped; returns whether it was written.

        Args:
            kind: of a few kinds, ``MAX_KINDS`` at most are told apart.
            event: the line's name.
            fields: what else it says.
        """
        if kind not in self._written_at and len(self._written_at) >= MAX_KINDS:
            kind = OTHER
        now = self._clock()
        if now - self._written_at.get(kind, float("-inf")) < self._seconds:
            self._dropped[kind] += 1
            if self._suppressed is not None:
                self._suppressed(kind, 1)
            return False
        self._written_at[kind] = now
        dropped = self._dropped.pop(kind, 0)
        self._write(event, **fields, **({"dropped_before": dropped} if dropped else {}))
        return True

    def flush(self) -> None:
        """One line for each kind that had lines dropped since its last one."""
        now = self._clock()
        for kind, dropped in tuple(self._dropped.items()):
            self._written_at[kind] = now
            self._write("lines_dropped", kind=kind, dropped_before=dropped)
        self._dropped.clear()


def _formatter(console: bool, colors: bool) -> logging.Formatter:
    finish: list[Processor] = [
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    if console:
        # Plain tracebacks: those with local variables would show keys and pictures.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=plain, timestamp_key="time"
        )
        finish += [_escape, renderer]
    else:
        finish += [_order, structlog.processors.JSONRenderer(default=repr)]
    return ProcessorFormatter(foreign_pre_chain=_shared(), processors=finish)


def _shared() -> list[Processor]:
    return [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _cut,
        structlog.processors.StackInfoRenderer(),
    ]


def _cut(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Keeps lines short whatever they are given."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_CHARACTERS:
            event[key] = value[:MAX_TEXT_CHARACTERS] + "..."
        elif isinstance(value, bytes | bytearray | memoryview):
            event[key] = f"<{len(value)} bytes>"
    return event


def _escape(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """For a terminal; JSON escapes what it writes anyway. Tracebacks keep their lines."""
    for key, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if key in TRACES else [value]
            event[key] = "\n".join(_printable(line) for line in lines)
    return event


def _order(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Puts in front what every line has."""
    return {**{key: event[key] for key in FIRST if key in event}, **event}


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

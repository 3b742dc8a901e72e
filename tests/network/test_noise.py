"""The library's log records: each is counted, few are written."""

from __future__ import annotations

import logging

import pytest
from aiohttp.http_exceptions import BadStatusLine, LineTooLong

from miner.metrics import Metrics
from miner.network.noise import QUIET_SECONDS, Summary


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(error: Exception) -> logging.LogRecord:
    info = (type(error), error, None)
    return logging.LogRecord("x", logging.ERROR, "", 0, "Error handling request", (), info)


def test_a_kind_is_written_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Of a kind one line is written a minute, which says how many were not; kinds are apart."""
    clock, metrics = Clock(), Metrics()
    summary = Summary("axon", metrics, clock)
    for _ in range(10):
        summary.emit(record(BadStatusLine("x")))
    summary.emit(record(LineTooLong("x", "1")))
    clock.now = QUIET_SECONDS
    summary.emit(record(BadStatusLine("x")))

    lines = [each.getMessage() for each in caplog.records]
    assert lines == [
        "axon: malformed request (BadStatusLine)",
        "axon: malformed request (LineTooLong)",
        "axon: malformed request (BadStatusLine), and 9 more since the last such line",
    ]
    value = metrics.registry.get_sample_value
    kind = {"server": "axon", "kind": "BadStatusLine"}
    assert value("miner_malformed_requests_total", kind) == 11
    assert value("miner_log_lines_suppressed_total", {"kind": "http_BadStatusLine"}) == 9


def test_faults_keep_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """What is not the caller's fault is an error with its traceback, and no malformed request."""
    metrics = Metrics()
    Summary("api", metrics, Clock()).emit(record(RuntimeError("broken")))

    [line] = caplog.records
    assert (line.levelno, line.getMessage()) == (logging.ERROR, "api: Error handling request")
    assert line.exc_info is not None
    labels = {"server": "api", "kind": "RuntimeError"}
    assert metrics.registry.get_sample_value("miner_malformed_requests_total", labels) is None

"""Log lines: one a piece, alike from everywhere, safe to read, and not as many as others like."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from miner import logs
from miner.settings import LogSettings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged in the test; everything is as it was afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        stream = io.StringIO()
        yield stream
        logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_loggers_come_out_alike(stream: io.StringIO) -> None:
    """structlog and the standard library give the same JSON, one object a line."""
    logs.configure(LogSettings(), stream)
    structlog.get_logger("ours").warning("full", depth=3)
    logging.getLogger("theirs").warning("full of %s", "jobs")

    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"], ours["logger"], ours["depth"]) == (
        "full",
        "warning",
        "ours",
        3,
    )
    assert (theirs["event"], theirs["logger"]) == ("full of jobs", "theirs")
    assert list(ours)[:3] == list(theirs)[:3] == ["time", "level", "event"]
    assert ours["time"].endswith("Z")


def test_loggers_made_before_the_set_up_follow_it(stream: io.StringIO) -> None:
    """A module's logger is made on import and still obeys."""
    early = structlog.get_logger("early")
    logs.configure(LogSettings(level="error"), stream)
    early.info("no")
    early.error("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_a_second_set_up_replaces_the_first(stream: io.StringIO) -> None:
    """A reload changes the level and does not write lines twice."""
    logs.configure(LogSettings(level="error"), stream)
    logs.configure(LogSettings(level="debug"), stream)
    structlog.get_logger().debug("once")
    assert len(lines(stream)) == 1


async def test_a_jobs_lines_carry_its_id(stream: io.StringIO) -> None:
    """The id holds in the block and what it awaits, in each task for itself, and not after it."""
    logs.configure(LogSettings(), stream)

    async def work(job_id: str) -> None:
        with logs.bound_job(job_id):
            await asyncio.sleep(0)
            logging.getLogger("x").info("at it")

    await asyncio.gather(work("a"), work("b"))
    structlog.get_logger().info("after")
    assert [line.get("job") for line in lines(stream)] == ["a", "b", None]


def test_a_traceback_is_one_field_without_values(stream: io.StringIO) -> None:
    """Errors keep their traceback, without the variables it passed through."""
    logs.configure(LogSettings(), stream)
    secret = "s3cr3t".upper()  # noqa: F841 - what must not be shown
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("failed")

    (line,) = lines(stream)
    assert "ValueError: broken" in line["exception"]
    assert "S3CR3T" not in stream.getvalue()


def test_warnings_are_logged(stream: io.StringIO) -> None:
    """What a library warns of goes the same way."""
    logs.configure(LogSettings(), stream)
    warnings.simplefilter("always")
    warnings.warn("old", stacklevel=1)
    assert lines(stream)[0]["logger"] == "py.warnings"


@pytest.mark.parametrize(("format", "json_expected"), [("auto", True), ("console", False)])
def test_the_form_follows_the_settings(
    stream: io.StringIO, format: str, json_expected: bool
) -> None:
    """Elsewhere than on a terminal, auto means JSON; console is text without colours there."""
    logs.configure(LogSettings(format=format), stream)
    structlog.get_logger().info("ready", port=1)
    text = stream.getvalue()
    assert text.startswith("{") == json_expected
    assert "\x1b" not in text


@pytest.mark.parametrize("format", ["json", "console"])
@given(text=st.text(), value=st.one_of(st.text(), st.binary(), st.floats(), st.none()))
def test_no_text_breaks_a_line(format: str, text: str, value: object) -> None:
    """Whatever came from outside, a line stays one line and moves no cursor."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._formatter(console=format == "console", colors=False))
    logger = logging.Logger("x")
    logger.addHandler(handler)
    logger.warning("%s and %s", text, value)

    written = stream.getvalue()
    assert written.endswith("\n")
    assert written[:-1].isprintable()


def test_long_texts_are_cut_and_bytes_counted(stream: io.StringIO) -> None:
    """A line is short whatever it is given."""
    logs.configure(LogSettings(), stream)
    structlog.get_logger().info("x" * 100_000, picture=bytes(1000))
    (line,) = lines(stream)
    assert len(line["event"]) < logs.MAX_TEXT_CHARACTERS + 10
    assert line["picture"] == "<1000 bytes>"


class Written:
    """Keeps what a throttle writes, and a clock that stands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.dropped = 0

    def write(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    def drop(self, kind: str, count: int) -> None:
        self.dropped += count

    def throttle(self) -> logs.Throttle:
        return logs.Throttle(self.write, 60.0, self.drop, clock=lambda: self.now)


def test_a_throttle_lets_one_line_of_a_kind_through_and_counts_the_rest() -> None:
    """One a minute; the next one says how many there were between."""
    written = Written()
    throttle = written.throttle()
    for _ in range(5):
        throttle("bad", "bad_request", kind="a")
    throttle("worse", "worse_request")
    written.now = 60.0
    throttle("bad", "bad_request")

    assert written.lines == [
        ("bad_request", {"kind": "a"}),
        ("worse_request", {}),
        ("bad_request", {"dropped_before": 4}),
    ]
    assert written.dropped == 4


def test_a_throttle_tells_of_kinds_that_went_quiet() -> None:
    """What was dropped is told when asked, once."""
    written = Written()
    throttle = written.throttle()
    throttle("bad", "one")
    throttle("bad", "two")
    throttle.flush()
    throttle.flush()
    assert written.lines[1:] == [("lines_dropped", {"kind": "bad", "dropped_before": 1})]


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(0, 50)), max_size=300))
def test_a_throttle_is_bounded_and_loses_no_count(events: list[tuple[str, float]]) -> None:
    """Lines written and lines told of as dropped are all the events there were."""
    written = Written()
    throttle = written.throttle()
    for kind, later in events:
        written.now += later
        throttle(kind, "event")
    throttle.flush()

    told = sum(int(str(fields.get("dropped_before", 0))) for _, fields in written.lines)
    events_written = sum(event == "event" for event, _ in written.lines)
    assert events_written + told == len(events)
    assert told == written.dropped

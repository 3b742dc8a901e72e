"""The clock, by the kernel's word and beside others' clocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from miner.doctor.chain import Seen
from miner.doctor.clock import by_block, judge, look_at_clock
from miner.doctor.kernel_clock import KernelClock, read_kernel_clock
from miner.errors import ChainError
from miner.metrics import Metrics
from miner.network.node_time import Offset, clock_offset
from miner.network.server import serve
from miner.settings import ListenLimits
from tests.doctor.machines import case
from tests.network.fake_chain import usual_reading

KEPT, LEFT = KernelClock(True, 0.002), KernelClock(False, 16.0)
NOW = 1_000_000.0


@asynccontextmanager
async def node(date: float | None) -> AsyncIterator[str]:
    """A server whose clock says ``date``; its URL as of a chain's node."""

    async def answer(_: web.BaseRequest) -> web.Response:
        reply = web.Response(status=405)
        reply.headers["Date"] = "no date" if date is None else formatdate(date, usegmt=True)
        return reply

    limits, metrics = ListenLimits(), Metrics()
    async with serve(
        answer, name="api", host="127.0.0.1", port=0, limits=limits, metrics=metrics
    ) as listening:
        yield listening.url.replace("http://", "ws://")


@pytest.mark.parametrize(
    ("kernel", "offset", "status"),
    [
        (KEPT, None, "ok"),
        (LEFT, None, "warn"),
        (None, None, "skip"),
        (None, Offset(0.3, 0.5, "node"), "ok"),
        (LEFT, Offset(-0.3, 0.5, "node"), "ok"),
        (KEPT, Offset(2.5, 0.5, "node"), "warn"),
        (KEPT, Offset(-5.0, 0.5, "node"), "fail"),
        (KEPT, Offset(5.0, 2.0, "node"), "warn"),
    ],
)
def test_what_is_measured_counts_more_than_what_is_said(
    kernel: KernelClock | None, offset: Offset | None, status: str
) -> None:
    """Off by more than signatures allow is a failure, surely off at all a warning."""
    found = judge(kernel, offset, limit_seconds=4.0)

    assert found.status == status
    assert found.stops is None


@pytest.mark.parametrize(("theirs", "seconds"), [(NOW, -0.5), (NOW - 60, 59.5), (NOW + 60, -60.5)])
async def test_an_offset_is_measured_by_the_date_of_any_answer(
    theirs: float, seconds: float
) -> None:
    """A refusal has one as well; whole seconds are taken for their middle."""
    async with node(theirs) as url:
        offset = await clock_offset(url, wall_clock=lambda: NOW)

    assert offset.seconds == pytest.approx(seconds)
    assert offset.uncertainty_seconds == 0.5
    assert offset.source == "127.0.0.1"


async def test_without_a_date_or_an_answer_nothing_is_known() -> None:
    """One line of our own tree."""
    async with node(None) as url:
        with pytest.raises(ChainError, match="what time"):
            await clock_offset(url)
    with pytest.raises(ChainError, match="did not answer"):
        await clock_offset(url)


async def test_the_gateways_clock_is_compared(tmp_path: Path) -> None:
    """Those that the miner talks to anyway; the unreachable ones are passed over."""
    async with node(NOW + 30) as url:
        gateways = [url.replace("ws://", "http://"), "http://127.0.0.1:9"]
        flags = {"intakes": ["http", "gateway"], "gateway": {"urls": gateways}}
        found = await look_at_clock(case(tmp_path, kernel_clock=KEPT, **flags))

    assert found.status == "fail"
    assert "30.5 s behind 127.0.0.1" in found.line


@pytest.mark.parametrize(
    ("age", "status"), [(5.0, "ok"), (30.0, "ok"), (-20.0, "fail"), (37.0, "ok"), (100.0, "fail")]
)
def test_a_block_shows_gross_errors_only(age: float, status: str) -> None:
    """The newest block is some seconds old, and never from the future."""
    offset = by_block(Seen(usual_reading(), NOW - age), NOW)

    assert judge(KEPT, offset, 4.0).status == status


def test_the_kernel_of_this_machine_can_be_asked() -> None:
    """By any user, and the answer is a sensible number."""
    found = read_kernel_clock()

    assert found is None or 0.0 <= found.max_error_seconds < 1000.0

"""All checks together: limits, failures of the checks themselves, and the exit status."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from miner.doctor import finding
from miner.doctor.asking import MISSING, in_thread, run_program
from miner.doctor.case import Case
from miner.doctor.examine import CHECKS, Check, examine
from miner.doctor.finding import Finding
from miner.errors import ConfigError, DeviceError, GatewayError, MinerError
from tests.doctor.machines import case


async def fine(_: Case) -> Finding:
    return finding.ok("fine")


async def endless(_: Case) -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


def raising(error: Exception) -> Check:
    async def look(_: Case) -> Finding:
        raise error

    return Check("raises", look)


async def test_a_check_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """Its limit is its answer; they run at the same time and are told in their order."""
    told: list[str] = []
    late = Check("late", endless, seconds=0.05, stops=DeviceError)
    later = Check("later", endless, seconds=0.05, late="warn")
    checks = [late, later, Check("fine", fine)]
    found = await examine(case(tmp_path), checks, lambda one: told.append(one.name))

    assert [(one.name, one.status, one.stops) for one in found] == [
        ("late", "fail", DeviceError),
        ("later", "warn", None),
        ("fine", "ok", None),
    ]
    assert told[0] == "fine"


@pytest.mark.parametrize(
    ("error", "stops"),
    [
        (ConfigError("a key is wrong; mend it"), ConfigError),
        (GatewayError("a gateway; is odd"), None),
        (ZeroDivisionError("of ours\nin two lines"), None),
    ],
)
async def test_whatever_a_check_raises_is_a_finding(
    tmp_path: Path, error: Exception, stops: type[MinerError] | None
) -> None:
    """Never a traceback, and the other lines are there."""
    found, other = await examine(case(tmp_path), [raising(error), Check("fine", fine)])

    assert (found.status, found.stops, other.status) == ("fail", stops, "ok")
    assert "\n" not in found.line
    if stops is not None:
        assert str(found.error()) == str(error)


async def test_a_start_waits_for_those_checks_alone_that_it_must(tmp_path: Path) -> None:
    """What can wait is not even begun."""
    checks = [Check("now", fine), Check("any time", endless, at_start=False)]

    assert [one.name for one in await examine(case(tmp_path, starting=True), checks)] == ["now"]
    assert {"gpu", "weights", "wallet", "ports", "disk", "settings"} <= {
        check.name for check in CHECKS if check.at_start
    }


async def test_what_several_checks_need_is_asked_once(tmp_path: Path) -> None:
    """Also when they ask at the same time."""
    asked = []

    async def make() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        return 7

    one = case(tmp_path)
    assert await asyncio.gather(*(one.once("x", make) for _ in range(5))) == [7] * 5
    assert len(asked) == 1


def test_the_exit_status_says_whether_a_start_would_end() -> None:
    """0, 1 or 78; warnings and skips are no failures."""
    good = [finding.ok("a"), finding.warn("b"), finding.skip("c")]
    bad, worse = finding.fail("d"), finding.fail("e", stops=ConfigError)

    assert finding.exit_status(good) == 0
    assert finding.exit_status([*good, bad]) == 1
    assert finding.exit_status([worse, bad]) == 78


def test_the_worst_of_several_speaks_for_all() -> None:
    """Equals join in one line, and equal mends are told once."""
    one, other = finding.fail("x", "r", "m"), finding.fail("y", "r", "m")
    joined = finding.together([finding.ok("a"), one, other])

    assert (joined.line, joined.reason, joined.mend) == ("x; y", "r", "m")
    stopping = finding.fail("z", stops=ConfigError)
    assert finding.together([one, stopping]).line == "z"
    assert finding.together([finding.ok("a"), finding.skip("b")]).line == "a"


def test_foreign_text_cannot_move_the_cursor() -> None:
    """One line, of bounded length, all of it printable."""
    text = finding.one_line("a\x1b[2J\n b\t" + "c" * 1000)

    assert text.startswith("a\N{REPLACEMENT CHARACTER}[2J b c")
    assert len(text) == 400


async def test_a_thread_that_hangs_is_left_behind() -> None:
    """The limit holds, and its late answer harms nobody."""
    go, done = threading.Event(), threading.Event()

    def hang() -> None:
        go.wait()
        done.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_thread(hang)
    go.set()
    assert await asyncio.to_thread(done.wait, 30)
    await asyncio.sleep(0)


async def test_a_program_that_hangs_is_killed() -> None:
    """One that is missing is an answer, as shells give it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run_program(["sleep", "1000"])

    assert (await run_program(["/nowhere/program"])).status == MISSING
    assert (await run_program(["sh", "-c", "echo out; echo err >&2; exit 3"])).status == 3

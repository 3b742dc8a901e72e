"""All checks, run at the same time, each within its limit; what cannot be looked at is a finding.

A check that fails in a way nobody thought of is told as a failure of its own, never as a traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from miner.doctor.background import look_at_background
from miner.doctor.case import Case
from miner.doctor.chain import look_at_chain
from miner.doctor.clock import look_at_clock
from miner.doctor.coherence import look_at_settings
from miner.doctor.cuda import look_at_cuda
from miner.doctor.disk import look_at_disk
from miner.doctor.finding import Finding, Status, fail, of_error, one_line
from miner.doctor.gpu import look_at_gpu
from miner.doctor.memory import look_at_memory
from miner.doctor.packages import look_at_packages
from miner.doctor.ports import look_at_ports
from miner.doctor.rasteriser import look_at_rasteriser
from miner.doctor.state import look_at_daemon, look_at_journal
from miner.doctor.unit import look_at_unit
from miner.doctor.wallet import look_at_wallet
from miner.doctor.weights import look_at_weights
from miner.errors import DeviceError, MinerError, StartupError

DEEP_FACTOR = 60.0
"""A deep look reads tens of gigabytes: its limits are so much longer."""


@dataclass(frozen=True)
class Check:
    """One look.

    Attributes:
        name: in the table and in JSON; stays as it is.
        look: finds out.
        seconds: it may take no longer.
        at_start: whether a daemon waits for it before it starts.
        late: what it means when it does.
        stops: the error that a start ends with then, where it is one.
    """

    name: str
    look: Callable[[Case], Awaitable[Finding]]
    seconds: float = 10.0
    at_start: bool = True
    late: Status = "fail"
    stops: type[StartupError] | None = None


CHECKS: tuple[Check, ...] = (
    Check("settings", look_at_settings),
    Check("daemon", look_at_daemon),
    Check("packages", look_at_packages),
    Check("gpu", look_at_gpu, seconds=120.0, stops=DeviceError),
    Check("cuda", look_at_cuda, seconds=120.0, at_start=False, late="warn"),
    Check("memory", look_at_memory, seconds=120.0, late="warn"),
    Check("weights", look_at_weights, seconds=300.0),
    Check("background", look_at_background, seconds=180.0, at_start=False),
    Check("rasteriser", look_at_rasteriser, seconds=60.0, at_start=False, late="warn"),
    Check("disk", look_at_disk),
    Check("journal", look_at_journal, seconds=60.0, at_start=False, late="warn"),
    Check("ports", look_at_ports),
    Check("wallet", look_at_wallet, seconds=20.0),
    Check("clock", look_at_clock, seconds=60.0, at_start=False, late="warn"),
    Check("chain", look_at_chain, seconds=60.0, at_start=False),
    Check("unit", look_at_unit, at_start=False, late="warn"),
)
"""In the order of the table, and of what a start fails with first."""


async def examine(
    case: Case,
    checks: Sequence[Check] = CHECKS,
    seen: Callable[[Finding], None] = lambda _: None,
) -> list[Finding]:
    """What all of them find, in their order.

    Args:
        case: what is looked at; where a daemon is starting, only what it waits for.
        checks: those to run.
        seen: told of each as it ends.
    """
    wanted = [check for check in checks if check.at_start or not case.starting]

    async def one(check: Check) -> Finding:
        found = await run_check(check, case)
        seen(found)
        return found

    return list(await asyncio.gather(*map(one, wanted)))


async def run_check(check: Check, case: Case) -> Finding:
    """One check's finding, whatever happens in it."""
    limit = check.seconds * (DEEP_FACTOR if case.deep else 1.0)
    try:
        async with asyncio.timeout(limit):
            found = await check.look(case)
    except TimeoutError:
        line = f"no answer within {limit:g} s"
        found = Finding(check.late, line, "what it looks at hangs, or is very slow", "try again")
        if check.late == "fail" and check.stops is not None:
            found = fail(line, found.reason, "see the machine's log", check.stops)
    except MinerError as error:
        found = of_error(error)
    except Exception as error:  # a table with one line missing helps nobody
        found = fail(one_line(f"the check itself failed: {type(error).__name__}: {error}"))
    return found.named(check.name)

"""The clock: kept by a time service, and near that of those we talk to.

Every request is signed over a nonce of the wall clock. A clock that is off by more than
``admission.future_skew_seconds`` refuses good validators and has its own calls refused. Without a
way to a time server the Date of a gateway's or the chain's node answers is compared, and failing
that the newest block's time, which shows gross errors only.

Not part of a start: services are forbidden calls about the clock, in some units on pain of death.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.chain import Seen, chain_seen
from miner.doctor.finding import Finding, fail, ok, skip, warn
from miner.doctor.kernel_clock import KernelClock
from miner.errors import ChainError
from miner.network.node_time import Offset, clock_offset

BLOCK_SECONDS = 12.0
BLOCKS_BEHIND = 3
"""The newest block that a good node shows is no older than so many."""
NOTABLE_SECONDS = 1.0
REASON = "requests are signed over the time; a clock that is off has them refused"
MEND = "timedatectl set-ntp true, or run chrony; timedatectl timesync-status shows how it goes"


async def look_at_clock(case: Case) -> Finding:
    """What the kernel says, and what others' clocks say."""
    return judge(
        case.host.kernel_clock(),
        await _offset(case),
        min(one.admission.future_skew_seconds for one in case.settings.daemon.identities),
    )


def judge(kernel: KernelClock | None, offset: Offset | None, limit_seconds: float) -> Finding:
    """The kernel's word beside what was measured.

    Args:
        kernel: None where it says nothing.
        offset: None where nobody was reached.
        limit_seconds: of the signatures.
    """
    if offset is not None:
        sure = max(0.0, abs(offset.seconds) - offset.uncertainty_seconds)
        ahead = "ahead of" if offset.seconds > 0 else "behind"
        told = f"{abs(offset.seconds):.1f} s {ahead} {offset.source}"
        if sure > limit_seconds:
            return fail(told, REASON, MEND)
        if sure > NOTABLE_SECONDS:
            return warn(told, REASON, MEND)
    near = "" if offset is None else f", within {offset.uncertainty_seconds:.1f} s of "
    near += "" if offset is None else offset.source
    if kernel is None:
        return ok(near.removeprefix(", ")) if offset else skip("nobody could be asked")
    if kernel.synchronised:
        return ok(f"kept to {kernel.max_error_seconds:.3f} s by a time service{near}")
    if offset is not None:
        return ok(f"no time service is known to the kernel{near}")
    return warn("no time service is known to the kernel", REASON, MEND)


def by_block(seen: Seen, now: float) -> Offset | None:
    """Our clock beside the newest block's, where they cannot both be right; else nothing is known.

    Args:
        seen: the chain.
        now: unix seconds of ours, taken just after the block's time was asked for.
    """
    age = now - seen.block_at
    oldest = BLOCKS_BEHIND * BLOCK_SECONDS
    if 0.0 <= age <= oldest:
        return None
    return Offset(age, oldest if age > 0 else 0.0, f"block {seen.reading.block:,}")


async def _offset(case: Case) -> Offset | None:
    """The surest comparison to be had."""
    urls = await _servers(case)
    asked = (clock_offset(url, case.host.wall_clock) for url in urls)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    offsets = [answer for answer in answers if isinstance(answer, Offset)]
    if offsets:
        return min(offsets, key=lambda one: one.uncertainty_seconds)
    for identity in case.settings.daemon.identities:
        if identity.chain.is_live:
            seen = await chain_seen(case, identity)
            if not isinstance(seen, ChainError):
                return by_block(seen, case.host.wall_clock())
    return None


async def _servers(case: Case) -> Sequence[str]:
    """Those of the settings that speak HTTP."""
    urls: list[str] = []
    for identity in case.settings.daemon.identities:
        urls += identity.gateway.urls if "gateway" in identity.intakes else ()
        if identity.chain.is_live and case.substrate is None:
            urls.append(await in_thread(_node_url, identity.chain.network))
    return list(dict.fromkeys(urls))


def _node_url(network: str) -> str:
    from miner.network.chain import node_url  # noqa: PLC0415 - its SDK loads for half a second

    return node_url(network)

"""Free memory beside the plan: what the models will take, by the planner that the workers use.

Sizes are the planner's estimates. While a daemon runs, its own models hold the memory, so that
there is nothing to compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from miner.doctor.asking import in_thread
from miner.doctor.cards import cards
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, together, warn
from miner.doctor.gpu import card_of, seen_by_torch
from miner.gpu.capability import installed_here
from miner.gpu.host_memory import host_memory
from miner.gpu.kernels import arches_here
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.planner import make_plan
from miner.settings import DaemonSettings, RollbackSettings
from miner.workers.spread import Spread

GIBIBYTE = 1024**3
MEND = "end what else holds memory, choose a preset for a smaller card, or see: miner plan"


async def look_at_memory(case: Case) -> Finding:
    """A plan for each card that the workers would get, or for the CPU."""
    if not case.starting and await case.daemon() is not None:
        return skip("a daemon runs", "its models hold the memory; see miner ctl status --json")
    cards = await _cards(case)
    if not cards:
        return skip("no card to plan for", "see gpu")
    found = []
    for card, kind in _workers(case.settings.daemon, cards):
        plan = await in_thread(_plan, case, card, kind)
        alone = f"{kind.primary} alone on " if case.settings.daemon.worker.spread else ""
        found.append(judge(plan, alone))
    return together(found)


def _workers(
    settings: DaemonSettings, cards: Sequence[Card]
) -> Iterator[tuple[Card, RollbackSettings]]:
    """What is to lie on which card; where one is all that is known, every kind of worker on it."""
    worker, rollback = settings.worker, settings.rollback
    held = Spread.of(worker, rollback).first(worker.count)
    if worker.spread and len(cards) == worker.count:
        yield from zip(cards, map(rollback.alone, held), strict=True)
    else:
        yield from ((card, kind) for card in cards for kind in settings.worker_kinds)


def judge(plan: MemoryPlan, alone: str = "") -> Finding:
    """Whether a plan fits, and what had to be given up for it; ``alone`` goes before the card."""
    have = f"{_gib(plan.limit_bytes)} may be taken of {_gib(plan.card.total_bytes)}"
    needs = f"{alone}{plan.card.name}: {_gib(plan.peak_bytes)} at the peak, {have}"
    warnings = one_line("; ".join(plan.warnings))
    if plan.peak_bytes > plan.limit_bytes:
        return fail(needs, warnings or "the models do not fit, whatever is tried", MEND)
    if plan.warnings:
        return warn(needs, warnings, "see: miner plan")
    kinds = Counter(f"{stage.residency} in {stage.precision}" for stage in plan.stages)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return ok(f"{needs} ({told})")


async def _cards(case: Case) -> list[Card]:
    """One for each worker's device; none where the card there is cannot be used."""
    wanted = case.settings.device
    if wanted == "cpu" or (wanted == "auto" and not (await cards(case)).there):
        host = await in_thread(host_memory, case.host.root)
        return [Card("cpu", host.total_bytes, host.free_bytes, None, host.free_bytes)]
    found = []
    for gpu in case.settings.daemon.worker.gpus or (None,):
        devices = (await seen_by_torch(case, gpu)).get("devices", ())
        found += [device for device in devices[:1] if device["capability"]]
    if not found:
        return []
    host = await in_thread(host_memory, case.host.root)
    return [card_of(device, host.free_bytes) for device in found]


def _plan(case: Case, card: Card, kind: RollbackSettings) -> MemoryPlan:
    return make_plan(
        card,
        case.settings.preset,
        rollback=kind,
        installed=installed_here,
        arches=arches_here(),
    )


def _gib(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"

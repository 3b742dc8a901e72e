"""Free memory beside the plan: what the models will take, by the planner that the workers use.

Sizes are the planner's estimates. While a daemon runs, its own models hold the memory, so that
there is nothing to compare.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miner.doctor.asking import in_thread
from miner.doctor.cards import cards
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, together, warn
from miner.doctor.gpu import seen_by_torch
from miner.gpu.capability import installed_here
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.planner import make_plan

GIBIBYTE = 1024**3
MEND = "end what else holds memory, choose a preset for a smaller card, or see: miner plan"
CGROUP_FILES = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of this container's memory, in the two layouts there are."""


async def look_at_memory(case: Case) -> Finding:
    """A plan for each card that the workers would get, or for the CPU."""
    if not case.starting and await case.daemon() is not None:
        return skip("a daemon runs", "its models hold the memory; see miner ctl status --json")
    found = [await in_thread(_plan, case, card) for card in await _cards(case)]
    if not found:
        return skip("no card to plan for", "see gpu")
    return together([judge(plan) for plan in found])


def judge(plan: MemoryPlan) -> Finding:
    """Whether a plan fits, and what had to be given up for it."""
    have = f"{_gib(plan.limit_bytes)} may be taken of {_gib(plan.card.total_bytes)}"
    needs = f"{plan.card.name}: {_gib(plan.peak_bytes)} at the peak, {have}"
    warnings = one_line("; ".join(plan.warnings))
    if plan.peak_bytes > plan.limit_bytes:
        return fail(needs, warnings or "the models do not fit, whatever is tried", MEND)
    if plan.warnings:
        return warn(needs, warnings, "see: miner plan")
    kinds = Counter(f"{stage.residency} in {stage.precision}" for stage in plan.stages)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return ok(f"{needs} ({told})")


def host_bytes(root: Path) -> tuple[int, int]:
    """The machine's or the container's memory in all, and what can be had now; 0 if not known."""
    total, free = _meminfo(root)
    for limit_file, use_file in CGROUP_FILES:
        limit, used = _number(root / limit_file), _number(root / use_file)
        if limit is not None and used is not None and limit < total:
            total, free = limit, min(free, max(0, limit - used))
    return total, free


async def _cards(case: Case) -> list[Card]:
    """One for each worker's device; none where the card there is cannot be used."""
    total, free = await in_thread(host_bytes, case.host.root)
    wanted = case.settings.device
    if wanted == "cpu" or (wanted == "auto" and not (await cards(case)).there):
        return [Card("cpu", total, free, None, free)]
    found = []
    for gpu in case.settings.daemon.worker.gpus or (None,):
        devices = (await seen_by_torch(case, gpu)).get("devices", ())
        found += [card_of(device, free) for device in devices[:1] if device["capability"]]
    return found


def card_of(device: Mapping[str, Any], host_free_bytes: int) -> Card:
    """A device as ``probe.gpu`` tells of it, as the planner wants it."""
    major, minor = device["capability"]
    return Card(device["name"], device["total"], device["free"], (major, minor), host_free_bytes)


def _plan(case: Case, card: Card) -> MemoryPlan:
    residency = case.settings.daemon.rollback.residency
    return make_plan(card, case.settings.preset, rollback=residency, installed=installed_here)


def _meminfo(root: Path) -> tuple[int, int]:
    values = {}
    with contextlib.suppress(OSError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            values[name] = int(rest.split()[0]) * 1024  # the kernel counts in KiB
    return values.get("MemTotal", 0), values.get("MemAvailable", 0)


def _number(file: Path) -> int | None:
    """None where there is no file, or no limit: "max"."""
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None


def _gib(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"

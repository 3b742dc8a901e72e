"""Free memory beside the plan of the planner that the workers use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.doctor.gpu import card_of
from miner.doctor.memory import look_at_memory
from miner.errors import DeviceError
from tests.doctor.machines import BLIND, H200, SEEN, Programs, case, nvidia, put

GIB = 2**30
MEMINFO = "MemTotal:       33554432 kB\nMemFree: 1 kB\nMemAvailable:   16777216 kB\n"


def small(free: float) -> dict[str, Any]:
    """What torch sees of a card of 12 GiB."""
    card = {**H200, "name": "RTX 4070", "capability": [8, 9], "total": 12 * GIB}
    return {**SEEN, "devices": [{**card, "free": int(free * GIB)}]}


@pytest.mark.parametrize(
    ("seen", "preset", "status"),
    [
        (SEEN, "flux-schnell", "ok"),
        (small(11.8), "mini", "ok"),
        (small(6.0), "flux-schnell", "warn"),
        (small(0.6), "flux-schnell", "fail"),
    ],
)
async def test_what_is_free_is_held_against_the_plan(
    tmp_path: Path, seen: dict[str, Any], preset: str, status: str
) -> None:
    """All fits, something had to be given up, or nothing fits; a plan stops no start."""
    put(tmp_path, "proc/meminfo", MEMINFO)
    found = await look_at_memory(case(tmp_path, Programs(gpu=seen), nvidia, preset=preset))

    assert found.status == status, found
    assert found.stops is None
    assert "at the peak" in found.line
    assert status == "ok" or found.reason


async def test_without_a_card_the_plan_is_for_the_cpu(tmp_path: Path) -> None:
    """What can be had of the machine's memory counts, and torch is not asked."""
    put(tmp_path, "proc/meminfo", MEMINFO)
    found = await look_at_memory(case(tmp_path, starting=True))

    assert found.status == "ok"
    assert found.line.startswith("cpu: ")
    assert "resident in fp32" in found.line


async def test_a_card_that_cannot_be_used_has_no_plan(tmp_path: Path) -> None:
    """That it cannot is another check's line."""
    found = await look_at_memory(case(tmp_path, Programs(gpu=BLIND), nvidia))

    assert found.status == "skip"


async def test_beside_a_running_daemon_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """Its own models hold the memory."""
    one = case(tmp_path, Programs(gpu=small(0.6)), nvidia)

    async def status() -> dict[str, Any]:
        return {"ready": True}

    await one.once("daemon", status)
    assert (await look_at_memory(one)).status == "skip"


async def test_a_container_is_planned_for_with_what_its_limit_leaves(tmp_path: Path) -> None:
    """The machine's memory is not the container's; a kernel that does not say is an error."""
    with pytest.raises(DeviceError, match="does not say"):
        await look_at_memory(case(tmp_path, starting=True))
    put(tmp_path, "proc/meminfo", MEMINFO)
    put(tmp_path, "sys/fs/cgroup/memory.max", str(8 * GIB))
    put(tmp_path, "sys/fs/cgroup/memory.current", str(3 * GIB))
    found = await look_at_memory(case(tmp_path, starting=True))

    assert "of 8.0 GiB" in found.line
    assert card_of(H200, 7).capability == (9, 0)


async def test_each_card_has_the_plan_of_its_worker(tmp_path: Path) -> None:
    """Where workers hold one generator each a card has one plan; equal ones are told once."""
    put(tmp_path, "proc/meminfo", MEMINFO)
    worker = {"count": 3, "gpus": ["0", "1", "2"], "spread": {"triposr": 2, "dreamgaussian": 1}}
    programs = Programs(gpu=small(11.8))
    found = await look_at_memory(case(tmp_path, programs, nvidia, preset="mini", worker=worker))

    assert found.status == "ok"
    assert found.line.count("triposr alone on RTX 4070") == 1
    assert found.line.count("dreamgaussian alone on RTX 4070") == 1


async def test_a_card_that_is_not_named_has_the_plan_of_every_kind(tmp_path: Path) -> None:
    """Nobody knows which worker lies on it."""
    put(tmp_path, "proc/meminfo", MEMINFO)
    worker = {"count": 3, "spread": {"triposr": 2, "dreamgaussian": 1}}
    found = await look_at_memory(case(tmp_path, starting=True, worker=worker))

    assert found.line.count("alone on cpu") == 2

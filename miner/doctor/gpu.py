"""Driver and CUDA: whether the card that is there is the one that will compute.

A miner that has a card and silently computes on the CPU answers nobody in time: that is a failure,
and it stops the start. Whoever wants the CPU says so (``device = "cpu"``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from miner.doctor.cards import Cards, cards
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, together, warn
from miner.doctor.weights import is_embedded
from miner.errors import DeviceError
from miner.settings import worker_environment

PROBE = "miner.doctor.probe"
HIDDEN = ("", "-1")
"""Values of CUDA_VISIBLE_DEVICES that show no device."""
CPU_MEND = 'or say device = "cpu"'
GIBIBYTE = 1024**3

Seen = Mapping[str, Any]
"""What ``probe.gpu`` returns."""


async def look_at_gpu(case: Case) -> Finding:
    """Runs a kernel on every card that the workers would get."""
    wanted, there = case.settings.device, await cards(case)
    if wanted == "cpu" or (wanted == "auto" and not there.there):
        left = f"; {there} is not used" if there.there else ""
        return await _on_the_cpu(case, "cpu, as set" if wanted == "cpu" else "no card: cpu", left)
    if wanted == "auto" and _hidden(case):
        return warn(f"{there} is hidden by CUDA_VISIBLE_DEVICES", "the CPU computes")
    gpus = case.settings.daemon.worker.gpus or (None,)
    stops_always = there.usable or wanted == "cuda" or not is_embedded(case.settings)
    findings = [judge(await seen_by_torch(case, gpu), there, stops_always) for gpu in gpus]
    return together(findings)


async def seen_by_torch(case: Case, gpu: str | None = None) -> Seen:
    """What torch sees in a worker of that card; asked once for each.

    Returns:
        As ``probe.gpu``; only "failed" where the process did not answer.
    """
    return await case.once(f"torch {gpu}", lambda: _probe(case, gpu))


async def _on_the_cpu(case: Case, line: str, left: str) -> Finding:
    """A worker finds out about the CPU by itself, soon enough for a start."""
    if case.starting:
        return ok(line + left)
    seen = await seen_by_torch(case)
    if failed := seen.get("failed"):
        return fail(f"torch cannot be asked: {failed}", "", "mend the installation", DeviceError)
    if not seen["cpu_right"]:
        return fail("torch computes wrongly on this CPU", "", "mend the installation", DeviceError)
    return ok(f"{line}, torch {seen['torch']} computes{left}")


def judge(seen: Seen, there: Cards, stops: bool) -> Finding:
    """What torch sees beside what the machine has.

    Args:
        seen: by torch.
        there: in the machine.
        stops: whether a card that cannot be used stops the start.
    """
    error = DeviceError if stops else None
    if failed := seen.get("failed"):
        return fail(f"torch cannot be asked: {failed}", "", "mend the installation", error)
    if not seen["usable"]:
        return _unusable(seen, there, error)
    bad = [f"{one['name']}: {one['kernel']}" for one in seen["devices"] if one["kernel"] != "ok"]
    if bad:
        reason = "a first small kernel failed"
        mend = f"install a torch built for this card and driver, {CPU_MEND}"
        return fail(one_line("; ".join(bad)), reason, mend, DeviceError)
    return ok("; ".join(map(_told, seen["devices"])))


def _unusable(seen: Seen, there: Cards, error: type[DeviceError] | None) -> Finding:
    what = f"{there} is here" if there.there else "cuda is asked for"
    line = one_line(f"{what}, and torch {seen['torch']} cannot use it: {seen['reason']}")
    if seen["built_for"] is None:
        mend = "install a torch built for CUDA: .venv/bin/python -m pip install torch"
    elif not there.usable:
        mend = "install the NVIDIA driver, or hand the card into this container"
    else:
        mend = f"update the driver to one for CUDA {seen['built_for']}, and see nvidia-smi"
    return fail(line, "the CPU would compute in its place", f"{mend}, {CPU_MEND}", error)


def _told(device: Mapping[str, Any]) -> str:
    capability = ".".join(map(str, device["capability"]))
    free, total = (device[name] / GIBIBYTE for name in ("free", "total"))
    return (
        f"{device['name']}, capability {capability}, {free:.1f} of {total:.1f} GiB free, "
        f"a kernel in {device['seconds']:.2f} s"
    )


async def _probe(case: Case, gpu: str | None) -> Seen:
    return await ask_probe(case, ["gpu"], gpu)


async def ask_probe(case: Case, arguments: Sequence[str], gpu: str | None = None) -> Seen:
    """What ``probe.py`` answers from its own process; only "failed" where it does not."""
    command = [sys.executable, "-m", PROBE, *arguments]
    done = await case.host.run(command, worker_environment(gpu))
    try:
        answer = json.loads(done.out.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.err.strip().splitlines() or [f"it ended with {done.status}"])[-1]
        return {"failed": one_line(last)}
    return dict(answer)


def _hidden(case: Case) -> bool:
    """Whether the operator shows no card to anybody started from here."""
    if case.settings.daemon.worker.gpus:
        return False
    return worker_environment().get("CUDA_VISIBLE_DEVICES") in HIDDEN

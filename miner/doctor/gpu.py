"""Driver and CUDA: whether the card that is there is the one that will compute.

A miner that has a card and silently computes on the CPU answers nobody in time: that is a failure,
and it stops the start. Whoever wants the CPU says so (``device = "cpu"``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from miner.doctor.asking import in_thread
from miner.doctor.cards import Cards, cards, uvm_is_missing
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, together, warn
from miner.doctor.named_gpus import require_shown
from miner.doctor.weights import is_embedded
from miner.errors import DeviceError
from miner.gpu.kernels import DRIVER_FOR, TORCH_ARCHES, unserved
from miner.gpu.plan import Card
from miner.settings import worker_environment

PROBE = "miner.doctor.probe"
HIDDEN = ("", "-1")
"""Values of CUDA_VISIBLE_DEVICES that show no device."""
OTHER_TORCH = "install a torch built for this card and driver"
UVM_MEND = (
    "/dev/nvidia-uvm is missing: as root, modprobe nvidia_uvm && nvidia-modprobe -u -c 0 "
    "(a unit of miner service install does so itself; a container must be given the device)"
)
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
    named = case.settings.daemon.worker.gpus
    require_shown(named, await in_thread(case.host.gpus), worker_environment())
    gpus = named or (None,)
    stops_always = there.usable or wanted == "cuda" or not is_embedded(case.settings)
    seen = [await seen_by_torch(case, gpu) for gpu in gpus]
    missing = uvm_is_missing(case)  # after torch: with enough rights it makes the node itself
    return together([judge(one, there, stops_always, missing) for one in seen])


def first_gpu(case: Case) -> str | None:
    """The card of the first worker; None where CUDA chooses."""
    return next(iter(case.settings.daemon.worker.gpus), None)


async def seen_by_torch(case: Case, gpu: str | None = None) -> Seen:
    """What torch sees in a worker of that card; asked once for each.

    Returns:
        As ``probe.gpu``; only "failed" where the process did not answer.
    """
    return await case.once(f"torch {gpu}", lambda: _probe(case, gpu))


def card_of(device: Mapping[str, Any], host_free_bytes: int) -> Card:
    """A device of ``probe.gpu`` in the form that the planner takes."""
    major, minor = device["capability"]
    return Card(device["name"], device["total"], device["free"], (major, minor), host_free_bytes)


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


def judge(seen: Seen, there: Cards, stops: bool, uvm_missing: bool = False) -> Finding:
    """What torch sees beside what the machine has.

    Args:
        seen: by torch.
        there: in the machine.
        stops: whether a card that cannot be used stops the start.
        uvm_missing: whether the driver's device for CUDA's memory is not there.
    """
    error = DeviceError if stops else None
    if failed := seen.get("failed"):
        return fail(f"torch cannot be asked: {failed}", "", "mend the installation", error)
    if not seen["usable"]:
        return _unusable(seen, there, error, uvm_missing)
    bad = [f"{one['name']}: {one['kernel']}" for one in seen["devices"] if one["kernel"] != "ok"]
    if bad:
        reason = "a first small kernel failed"
        mend = f"{_without_kernels(seen) or OTHER_TORCH}, {CPU_MEND}"
        return fail(one_line("; ".join(bad)), reason, mend, DeviceError)
    return ok("; ".join(map(_told, seen["devices"])))


def _without_kernels(seen: Seen) -> str:
    """What to install for cards that this torch has no kernels for; empty where it has."""
    arches = seen.get("arches") or TORCH_ARCHES
    found = (unserved(card_of(one, 0), arches) for one in seen["devices"] if one["capability"])
    return "; ".join(dict.fromkeys(filter(None, found)))


def _unusable(
    seen: Seen, there: Cards, error: type[DeviceError] | None, uvm_missing: bool
) -> Finding:
    what = f"{there} is here" if there.there else "cuda is asked for"
    line = one_line(f"{what}, and torch {seen['torch']} cannot use it: {seen['reason']}")
    if seen["built_for"] is None:
        mend = "install a torch built for CUDA: .venv/bin/python -m pip install torch"
    elif not there.usable:
        mend = "install the NVIDIA driver, or hand the card into this container"
    else:
        mend = f"{UVM_MEND}; or {_driver(seen, there)}" if uvm_missing else _driver(seen, there)
    return fail(line, "the CPU would compute in its place", f"{mend}, {CPU_MEND}", error)


def _driver(seen: Seen, there: Cards) -> str:
    cuda = str(seen["built_for"])
    least = DRIVER_FOR.get(int(cuda.partition(".")[0])) if cuda[:1].isdecimal() else None
    which = f"driver {least} or later" if least else "a newer driver"
    here = f" (here is {there.driver})" if there.driver else ""
    return f"CUDA {cuda} of this torch needs {which}{here}; see nvidia-smi"


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
    """What ``probe.py`` answers from its own process; only "failed" where it does not.

    Returns:
        Its answer, and "said": what the libraries wrote to standard error.

    Raises:
        ConfigError: the environment does not show ``gpu``.
    """
    command = [sys.executable, "-m", PROBE, *arguments]
    done = await case.host.run(command, worker_environment(gpu))
    try:
        answer = json.loads(done.out.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.err.strip().splitlines() or [f"it ended with {done.status}"])[-1]
        return {"failed": one_line(last)}
    return {**answer, "said": done.err}


def _hidden(case: Case) -> bool:
    """Whether the operator shows no card to anybody started from here."""
    if case.settings.daemon.worker.gpus:
        return False
    return worker_environment().get("CUDA_VISIBLE_DEVICES") in HIDDEN

"""On what the background is removed: the network is opened as the pipeline opens it."""

from __future__ import annotations

import re

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, warn
from miner.doctor.gpu import Seen, ask_probe, card_of, first_gpu, seen_by_torch
from miner.doctor.probe import CUDA_PROVIDER
from miner.errors import MinerError, WeightsError
from miner.gpu.kernels import onnxruntime_has_kernels
from miner.gpu.weights import WeightStore

REASON = "the rest computes on the card; on the CPU this stage takes most of a second"
MEND = (
    ".venv/bin/python -m pip uninstall -y onnxruntime onnxruntime-gpu && "
    ".venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]>=1.31'"
)
"""Both write to the same folder: with both installed, the last one written is the one in use."""

SHORTAGE = ("out of memory", "failed to allocate", "alloc_failed", "not_initialized")
"""In what onnxruntime says where the card has too little memory left: a library that gets no
handle says that it is not initialised."""

_LIBRARY = re.compile(r"(lib[\w.+-]+): cannot open shared object file")


async def look_at_background(case: Case) -> Finding:
    """Which provider a session really takes, and whether a picture goes through it."""
    settings = case.settings
    store = WeightStore(settings.weights, settings.preset.name)
    try:
        file = await in_thread(store.find, settings.preset.background.weights)
    except MinerError:
        return skip("its weights are not there", "see weights")
    seen: Seen = {}
    if settings.device != "cpu":
        seen = await seen_by_torch(case, first_gpu(case))
    without = _without_kernels(seen)
    cuda = bool(seen.get("usable")) and not without
    arguments = ["background", str(file), "cuda" if cuda else "cpu"]
    return judge(await ask_probe(case, arguments, first_gpu(case) if cuda else None), cuda, without)


def judge(found: Seen, cuda: bool, without: str = "") -> Finding:
    """What ``probe.background`` found.

    Args:
        found: by it.
        cuda: whether the card is to be used.
        without: why it is not, though there is one; for the line.
    """
    if failed := found.get("failed"):
        return fail(f"onnxruntime cannot be asked: {failed}", "", "mend the installation")
    if found["reason"]:
        line = one_line(f"no picture goes through the network: {found['reason']}")
        return fail(line, "", "fetch it again, or mend onnxruntime", WeightsError)
    version, provider = found["version"], found["provider"]
    if not cuda or provider == CUDA_PROVIDER:
        line = f"{provider} of onnxruntime {version}, a picture in {found['seconds']:.2f} s"
        return ok(f"{line}; {without}" if without else line)
    if found["card"]:
        return _left_to_the_cpu(found)
    if CUDA_PROVIDER in found["available"]:
        line = f"onnxruntime {version} has {CUDA_PROVIDER} and fell back to {provider}"
        return warn(line, REASON, f"{_why(found)}; see cuda, or: {MEND}")
    return warn(f"onnxruntime {version} has no {CUDA_PROVIDER}", REASON, MEND)


def _left_to_the_cpu(found: Seen) -> Finding:
    """Of a picture that failed on the card and went through on the CPU, as a worker has it."""
    line = one_line(f"the network does not run on the card, but on the CPU: {found['card']}")
    if any(word in found["card"].lower() for word in SHORTAGE):
        reason = "the card has too little memory left now; a daemon that runs holds its models"
        return warn(line, reason, "try again when nothing else holds the card's memory")
    return warn(line, REASON, f"see cuda, or: {MEND}")


def _why(found: Seen) -> str:
    missing = list(dict.fromkeys(_LIBRARY.findall(found.get("said", ""))))
    return f"{', '.join(missing)} cannot be found" if missing else "its CUDA libraries do not load"


def _without_kernels(seen: Seen) -> str:
    """Why the card is not for onnxruntime, though torch uses it; empty where it is."""
    for device in seen.get("devices", ())[:1]:
        if device["capability"] and not onnxruntime_has_kernels(card_of(device, 0)):
            has = ".".join(map(str, device["capability"]))
            return f"onnxruntime-gpu has no kernels for compute capability {has}, so on the CPU"
    return ""

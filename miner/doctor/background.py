"""On what the background is removed: the network is opened as the pipeline opens it."""

from __future__ import annotations

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, skip, warn
from miner.doctor.gpu import Seen, ask_probe, seen_by_torch
from miner.doctor.probe import CUDA_PROVIDER
from miner.errors import MinerError, WeightsError
from miner.gpu.weights import WeightStore

REASON = "the rest computes on the card; on the CPU this stage takes most of a second"
MEND = (
    ".venv/bin/python -m pip uninstall -y onnxruntime onnxruntime-gpu && "
    ".venv/bin/python -m pip install onnxruntime-gpu"
)
"""Both write to the same folder: with both installed, the last one written is the one in use."""


async def look_at_background(case: Case) -> Finding:
    """Which provider a session really takes."""
    settings = case.settings
    store = WeightStore(settings.weights, settings.preset.name)
    try:
        file = await in_thread(store.find, settings.preset.background.weights)
    except MinerError:
        return skip("its weights are not there", "see weights")
    cuda = settings.device != "cpu" and bool((await seen_by_torch(case)).get("usable"))
    found = await ask_probe(case, ["background", str(file), "cuda" if cuda else "cpu"])
    return judge(found, cuda)


def judge(found: Seen, cuda: bool) -> Finding:
    """What ``probe.background`` found, where the card is, or is not, to be used."""
    if failed := found.get("failed"):
        return fail(f"onnxruntime cannot be asked: {failed}", "", "mend the installation")
    if found["reason"]:
        line = f"the network cannot be opened: {found['reason']}"
        return fail(line, "", "fetch it again, or mend onnxruntime", WeightsError)
    version, provider = found["version"], found["provider"]
    if not cuda or provider == CUDA_PROVIDER:
        return ok(f"{provider} of onnxruntime {version}")
    if CUDA_PROVIDER in found["available"]:
        line = f"onnxruntime {version} has {CUDA_PROVIDER} and fell back to {provider}"
        return fail(line, REASON, f"its CUDA libraries do not load: {MEND}")
    return warn(f"onnxruntime {version} has no {CUDA_PROVIDER}", REASON, MEND)

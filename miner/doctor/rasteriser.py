"""Whether the rollback's fits have gsplat's kernels, which a worker never compiles."""

from __future__ import annotations

from miner.doctor.cards import cards
from miner.doctor.case import Case
from miner.doctor.finding import Finding, ok, skip, warn
from miner.doctor.gpu import Seen, ask_probe

REASON = "plain torch rasterises in its place: the same pictures, slower fits"
FIX = "XDG_DATA_HOME=/opt miner fetch --build-gsplat, with a CUDA toolkit (nvcc) and CUDA_HOME set"


async def look_at_rasteriser(case: Case) -> Finding:
    """Only where a card computes and the preset names a generator to roll back to."""
    settings = case.settings
    if settings.device == "cpu" or not (await cards(case)).usable:
        return skip("no card rasterises", "see gpu")
    if not settings.preset.dreamgaussian.config:
        return skip("the preset has no generator to roll back to", "nothing else rasterises much")
    return judge(await ask_probe(case, ["gsplat"]))


def judge(found: Seen) -> Finding:
    """What ``probe`` says of the kernels: a ``status`` and a ``reason``."""
    if failed := found.get("failed"):
        return warn(f"gsplat cannot be asked: {failed}", REASON, FIX)
    if found["status"] == "ready":
        return ok("gsplat's kernels are built")
    return warn(str(found["reason"]), REASON, FIX)

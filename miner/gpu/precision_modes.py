"""What each precision computes in, and what this installation can have of it.

Which precision is best for a card is the planner's business. Loading asks once more, because a plan
may have been made elsewhere.
"""

from __future__ import annotations

import torch

from miner.gpu.capability import Settled, computes_in, installed_here, settle
from miner.gpu.device import Device
from miner.gpu.plan import PRECISIONS
from miner.settings.memory import Precision

PLAIN: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Those that are a number type and no more."""


def settled_here(wanted: Precision, device: Device) -> Settled:
    """The precision where this device and installation have it, else what comes nearest to it."""
    return settle(wanted, device.card(), PRECISIONS, installed_here)


def compute_dtype(precision: Precision, device: Device) -> torch.dtype:
    """What is computed in; weights in a smaller type are turned into it as they are used."""
    return PLAIN[precision if precision in PLAIN else computes_in(device.card())]

"""What each precision computes in, and which one takes the place of one that cannot be had.

Which precision is best for a card is the planner's business; here is only what the libraries that
are installed, and the kind of device, allow when a model is really loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from miner.gpu.device import Device
from miner.settings.memory import Precision

PLAIN: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Those that are a number type and no more."""

FIRST_WITH_BF16 = (8, 0)
"""Compute capability from which on a CUDA card multiplies bfloat16 matrices in hardware."""


@dataclass(frozen=True)
class Settled:
    """The precision that is used.

    Attributes:
        reasons: why it is another than was wanted, one for each step away from it.
    """

    precision: Precision
    reasons: tuple[str, ...] = ()


def installed(library: str) -> bool:
    """Whether a library could be imported; it is not imported."""
    return find_spec(library) is not None


def settle(wanted: Precision, device: Device, has: Callable[[str], bool] = installed) -> Settled:
    """The precision itself where it can be had here, else the next smaller or simpler one.

    Args:
        wanted: by the plan.
        device: that will compute.
        has: whether a library is installed.
    """
    reasons: list[str] = []
    precision = wanted
    while (missing := _missing(precision, device, has)) is not None:
        reason, precision = missing
        reasons.append(reason)
    return Settled(precision, tuple(reasons))


def _missing(
    precision: Precision, device: Device, has: Callable[[str], bool]
) -> tuple[str, Precision] | None:
    """Why it cannot be had, and what is tried next; None where it can."""
    match precision:
        case "nf4" if not device.is_cuda:
            return "nf4: bitsandbytes computes on CUDA only", "int8"
        case "nf4" if not (has("bitsandbytes") and has("accelerate")):
            return "nf4: bitsandbytes is not installed", "int8"
        case "int8" if not has("torchao"):
            return "int8: torchao is not installed", "fp8"
        case "bf16" if device.is_cuda and _capability(device) < FIRST_WITH_BF16:
            return "bf16: the card is older than Ampere", "fp16"
        case "fp16" if not device.is_cuda:
            return "fp16: a CPU has no arithmetic for it", "fp32"
    return None


def compute_dtype(precision: Precision, device: Device) -> torch.dtype:
    """What is computed in; weights in a smaller type are turned into it as they are used."""
    if precision in PLAIN:
        return PLAIN[precision]
    old = device.is_cuda and _capability(device) < FIRST_WITH_BF16
    return torch.float16 if old else torch.bfloat16


def _capability(device: Device) -> tuple[int, int]:
    major, minor = torch.cuda.get_device_capability(device.torch_device)
    return major, minor

"""Changes to loaded networks that make them faster on a GPU and change no more than last bits."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

log = logging.getLogger(__name__)


def compile_blocks(network: nn.Module, backend: str = "inductor") -> bool:
    """Has a denoiser's repeated blocks compiled when they first run; whether it has any to compile.

    Every new shape is compiled anew, up to a limit of torch's; shapes beyond it run as they are.
    Networks with 4-bit weights are left as they are: their kernels are not torch's.

    Args:
        network: of diffusers; other classes, and those without repeated blocks, are left alone.
        backend: of ``torch.compile``.
    """
    compile_repeated = getattr(network, "compile_repeated_blocks", None)
    if compile_repeated is None or not getattr(network, "_repeated_blocks", None):
        return False
    if any(type(module).__name__ == "Linear4bit" for module in network.modules()):
        log.warning("nf4 is not compiled; it runs as it is")
        return False
    # Not the full graph: past torch's limit of variants that would raise, and not fall back.
    compile_repeated(backend=backend)
    return True


def convolutions_channels_last(network: nn.Module) -> None:
    """Has the weights of 2D convolutions in the order that the card's kernels read."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight: Any = module.weight
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)

"""How products and convolutions of float32 are computed on CUDA: in full, or in TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import torch

from miner.gpu.device import Device

Fp32Math = Literal["full", "tf32"]

NAMES: Final = {"full": "ieee", "tf32": "tf32"}
"""As torch names them."""


@contextmanager
def fp32_math(mode: Fp32Math, device: Device) -> Iterator[None]:
    """Has a block computed in that way, and restores what held before; nothing on a CPU.

    By itself torch computes products in full and convolutions in TF32, which keeps 10 of 23 bits
    of each factor. Only torch's newer switches are used: they and the older ones (``allow_tf32``)
    refuse to be read when both were set. The switches are the whole process's: work that another
    thread puts on the device meanwhile is computed in the same way.

    Args:
        mode: "full" is IEEE float32 for both, "tf32" the tensor cores for both.
        device: where the block computes.
    """
    if not device.is_cuda:
        yield
        return
    cudnn: Any = torch.backends.cudnn  # its type does not know of ``conv``
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv)
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = NAMES[mode]
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value

"""The handles of the libraries under torch, made while there is memory for them."""

from __future__ import annotations

import torch
from torch.nn import functional

from miner.gpu.device import Device

SIDE = 16
"""Of the operands: as small as any kernel takes."""


def make_handles(device: Device) -> None:
    """Have cuBLAS and cuDNN make their handles and workspaces; nothing happens on a CPU.

    Both make them at their first call. On a card that models have filled by then the call fails,
    and what it says names neither memory nor what is to be done. Made before the plan they are also
    counted in what the card no longer has free.

    Raises:
        RuntimeError: whatever the libraries say; ``is_out_of_memory`` knows the card is full.
    """
    if not device.is_cuda:
        return
    square = torch.ones(SIDE, SIDE, device=device.torch_device)
    torch.mm(square, square)
    picture, kernel = square[None, None], square[None, None, :3, :3].contiguous()
    functional.conv2d(picture, kernel)
    device.synchronize()

"""Networks that wait in the host's memory and come to the device when they are used.

The copy on the host stays there while the one on the device works: weights do not change, so going
away costs no transfer. It is pinned where the host can spare that, which makes coming back twice as
fast. Networks whose weights are not plain tensors are moved by their library instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from miner.gpu.device import Device

PINNED_SHARE = 0.5
"""Of the host's available memory: pinned pages cannot be given to anybody else."""

log = logging.getLogger(__name__)


class Parking:
    """The weights of some networks, here or there.

    Args:
        networks: on the host now.
        device: where they work.
        often: they will come and go: the copy on the host is kept.
    """

    def __init__(self, networks: list[nn.Module], device: Device, often: bool) -> None:
        self._networks = networks
        self._device = device
        self._kept: list[tuple[Tensor, Tensor]] = []
        if often and device.is_cuda and all(map(_is_plain, networks)):
            self._keep(_can_spare(sum(map(weight_bytes, networks))))

    def wake(self) -> None:
        """To the device; returns when they are there."""
        if not self._kept:
            for network in self._networks:
                network.to(self._device.torch_device)
            return
        for tensor, kept in self._kept:
            tensor.data = kept.to(self._device.torch_device, non_blocking=True)
        self._device.synchronize()

    def park(self) -> None:
        """Back to the host; the device's memory is free, as far as the allocator lets it go."""
        if not self._kept:
            for network in self._networks:
                network.to("cpu")
            return
        for tensor, kept in self._kept:
            tensor.data = kept

    def _keep(self, pin: bool) -> None:
        for network in self._networks:
            for tensor in _tensors(network):
                if pin:
                    tensor.data = tensor.data.pin_memory()
                self._kept.append((tensor, tensor.data))


def weight_bytes(network: nn.Module) -> int:
    """What its weights and buffers take, wherever they are."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(network))


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Each once, although networks may share some."""
    yield from network.parameters()
    yield from network.buffers()


def _is_plain(network: nn.Module) -> bool:
    """Whether every weight is a tensor that can be copied as it is."""
    return all(type(tensor.data) is Tensor for tensor in _tensors(network)) and not getattr(
        network, "is_quantized", False
    )


def _can_spare(wanted: int) -> bool:
    available = Device(torch.device("cpu"), "cpu").available_bytes()
    if wanted > PINNED_SHARE * available:
        log.warning("%d MiB of weights are not pinned: the host has too little", wanted >> 20)
        return False
    return True

"""Networks that wait in the host's memory and come to the device when they are used.

The copy on the host stays there while the one on the device works: weights do not change, so going
away costs no transfer. It is pinned where the host can spare that, which makes coming back twice as
fast. nf4's weights lie in plain tensors with their scales beside them, and go the same way. What is
made of other tensors is moved by its library instead, there and back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from miner.gpu.device import Device
from miner.gpu.host_memory import host_memory
from miner.gpu.slabs import Place, Slab, pack, pinned_bytes

PINNED_SHARE = 0.5
"""Of the host's available memory: pinned pages cannot be given to anybody else."""

NF4_TENSORS = ("absmax", "code")
"""Of the state bitsandbytes has for a weight: scales of its blocks, and the sixteen values."""

log = logging.getLogger(__name__)


class Parking:
    """The weights of some networks, here or there.

    Args:
        networks: wherever they are; those that come and go are taken to the host.
        device: where they work.
        often: they will come and go: the copy on the host is kept.
    """

    def __init__(self, networks: list[nn.Module], device: Device, often: bool) -> None:
        self._networks = networks
        self._device = device
        self._slabs: list[Slab] = []  # none: the networks are moved by their own methods
        if often and device.is_cuda and all(map(_can_swap, networks)):
            self._slabs = pack(_places(networks), _can_pin(networks))

    def wake(self) -> None:
        """To the device; returns when they are there."""
        if not self._slabs:
            for network in self._networks:
                network.to(self._device.torch_device)
            return
        for slab in self._slabs:
            slab.to(self._device.torch_device)
        self._device.synchronize()

    def park(self) -> None:
        """Back to the host; the device's memory is free, as far as the allocator lets it go."""
        if not self._slabs:
            for network in self._networks:
                network.to("cpu")
            return
        for slab in self._slabs:
            slab.back()


def pin(network: nn.Module, device: Device) -> None:
    """Moves a network that is copied often to pinned host memory, where there is enough.

    Nothing changes where the device is no GPU, or where a weight is no plain tensor.
    """
    if device.is_cuda and _can_swap(network) and _can_pin([network]):
        pack(_places([network]), pinned=True)


def weight_bytes(network: nn.Module) -> int:
    """What its weights and buffers take, wherever they are, with the scales of nf4."""
    tensors = (place.tensor for place in _places([network]))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, each once, although networks may share some."""
    yield from network.parameters()
    yield from network.buffers()


def _places(networks: Iterable[nn.Module]) -> Iterator[Place]:
    """Where the tensors of networks are held."""
    for network in networks:
        for tensor in _tensors(network):
            yield Place(tensor, "data")
            state = getattr(tensor, "quant_state", None)
            if state is not None:
                yield from (Place(state, name) for name in NF4_TENSORS)


def _can_swap(network: nn.Module) -> bool:
    """Whether every weight is a tensor that can be copied as it is, its scales included."""
    if any(type(tensor.data) is not Tensor for tensor in _tensors(network)):
        return False
    found: list[Any] = [getattr(tensor, "quant_state", None) for tensor in _tensors(network)]
    states = [state for state in found if state is not None]
    if not states:
        return not getattr(network, "is_quantized", False)
    return all(type(state.absmax) is Tensor and not state.nested for state in states)


def _can_pin(networks: Iterable[nn.Module]) -> bool:
    """Whether the host can spare their weights as pinned memory, all of them together."""
    if not torch.cuda.is_available():
        return False
    wanted = pinned_bytes(_places(networks))
    if wanted > PINNED_SHARE * host_memory().free_bytes:
        log.warning("%d MiB of weights are not pinned: the host has too little", wanted >> 20)
        return False
    return True

"""Networks that wait in the host's memory and come to the device when they are used.

The copy on the host stays there while the one on the device works: weights do not change, so going
away costs no transfer. It is pinned where the host can spare that, which makes coming back twice as
fast. nf4's weights lie in plain tensors with their scales beside them, and go the same way. What is
made of other tensors is moved by its library instead, there and back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from miner.gpu.device import Device

PINNED_SHARE = 0.5
"""Of the host's available memory: pinned pages cannot be given to anybody else."""

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
        self._kept: list[tuple[Any, str, Tensor]] = []  # owner, its attribute, the copy
        if often and device.is_cuda and all(map(_can_swap, networks)):
            self._keep(_can_spare(sum(map(weight_bytes, networks))))

    def wake(self) -> None:
        """To the device; returns when they are there."""
        if not self._kept:
            for network in self._networks:
                network.to(self._device.torch_device)
            return
        for owner, name, kept in self._kept:
            setattr(owner, name, kept.to(self._device.torch_device, non_blocking=True))
        self._device.synchronize()

    def park(self) -> None:
        """Back to the host; the device's memory is free, as far as the allocator lets it go."""
        if not self._kept:
            for network in self._networks:
                network.to("cpu")
            return
        for owner, name, kept in self._kept:
            setattr(owner, name, kept)

    def _keep(self, pin: bool) -> None:
        for network in self._networks:
            for owner, name in _places(network):
                kept = getattr(owner, name).to("cpu")
                kept = kept.pin_memory() if pin else kept
                setattr(owner, name, kept)
                self._kept.append((owner, name, kept))


def weight_bytes(network: nn.Module) -> int:
    """What its weights and buffers take, wherever they are."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(network))


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Each once, although networks may share some."""
    yield from network.parameters()
    yield from network.buffers()


def _places(network: nn.Module) -> Iterator[tuple[Any, str]]:
    """Where its tensors hang: owner and attribute."""
    for tensor in _tensors(network):
        yield tensor, "data"
        scales = getattr(tensor, "quant_state", None)
        if scales is not None:
            yield scales, "absmax"


def _can_swap(network: nn.Module) -> bool:
    """Whether every weight is a tensor that can be copied as it is, its scales included."""
    if any(type(tensor.data) is not Tensor for tensor in _tensors(network)):
        return False
    found: list[Any] = [getattr(tensor, "quant_state", None) for tensor in _tensors(network)]
    states = [state for state in found if state is not None]
    if not states:
        return not getattr(network, "is_quantized", False)
    return all(type(state.absmax) is Tensor and not state.nested for state in states)


def _can_spare(wanted: int) -> bool:
    if not torch.cuda.is_available():
        return False
    available = Device(torch.device("cpu"), "cpu").available_bytes()
    if wanted > PINNED_SHARE * available:
        log.warning("%d MiB of weights are not pinned: the host has too little", wanted >> 20)
        return False
    return True

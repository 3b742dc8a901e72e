"""Networks that come and go: the copy on the host stays, for plain weights and for nf4's."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from miner.gpu.device import Device
from miner.gpu.parking import Parking
from tests.fakes.cards import fake_card


class Counting(nn.Linear):
    """Counts how often it is moved as a whole."""

    moves = 0

    def to(self, *args: object, **kwargs: object) -> Counting:
        self.moves += 1
        return super().to(*args, **kwargs)  # type: ignore[call-overload,no-any-return]


def as_nf4(network: Counting, nested: bool = False) -> Counting:
    """With the scales of 4 bits hanging on the weight, as bitsandbytes has them."""
    network.requires_grad_(False)
    network.is_quantized = True  # type: ignore[assignment]
    state = SimpleNamespace(absmax=torch.ones(2), code=torch.arange(16.0), nested=nested)
    network.weight.quant_state = state  # type: ignore[attr-defined]
    return network


def away_and_back(network: nn.Module, device: Device) -> None:
    parking = Parking([network], device, often=True)
    parking.park()
    parking.wake()
    parking.park()


def test_weights_are_swapped_and_never_carried_back() -> None:
    """Away from the device the very same copy is there again, wherever the network was made."""
    network = Counting(3, 3)
    expected = network.weight.clone()
    parking = Parking([network], fake_card(), often=True)
    copies = network.weight.data_ptr(), network.bias.data_ptr()
    network.weight.data = network.weight.data.clone()  # as if it were on the device
    parking.park()

    assert (network.weight.data_ptr(), network.bias.data_ptr()) == copies
    assert torch.equal(network.weight, expected)
    assert network.moves == 0


def test_scales_of_4_bits_go_with_their_weights() -> None:
    """Both are swapped, and the library is not asked to move anything."""
    network = as_nf4(Counting(3, 3))
    parking = Parking([network], fake_card(), often=True)
    state = network.weight.quant_state  # type: ignore[attr-defined]
    kept = {name: getattr(state, name).data_ptr() for name in ("absmax", "code")}
    for name in kept:
        setattr(state, name, getattr(state, name).clone())  # as if it were on the device
    parking.park()

    assert {name: getattr(state, name).data_ptr() for name in kept} == kept
    assert network.moves == 0


def test_what_cannot_be_swapped_is_moved_by_its_library() -> None:
    """Nested scales, weights that say they are quantised without scales, and all on a CPU."""
    silent = Counting(3, 3)
    silent.is_quantized = True  # type: ignore[assignment]
    for network in (as_nf4(Counting(3, 3), nested=True), silent):
        away_and_back(network, fake_card())
        assert network.moves == 3

    plain = Counting(3, 3)
    away_and_back(plain, Device(torch.device("cpu"), "cpu"))
    assert plain.moves == 3

"""The libraries' handles are made before any model is loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from miner.gpu.device import choose_device
from miner.gpu.handles import make_handles
from tests.fakes.cards import FakeCard


class Heard(TorchDispatchMode):
    """Remembers which operations ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_a_card_is_asked_for_a_product_and_a_convolution() -> None:
    """Each is the smallest call for which its library makes its handle."""
    with Heard() as heard:
        make_handles(FakeCard(torch.device("cpu"), "a card"))

    assert {"mm", "convolution"} <= set(heard.names)


def test_a_cpu_has_no_handles() -> None:
    """There nothing is computed."""
    with Heard() as heard:
        make_handles(choose_device("cpu"))

    assert heard.names == []

"""How float32 is computed on CUDA, for a block and not beyond it."""

from __future__ import annotations

import pytest
import torch

from miner.gpu.device import choose_device
from miner.gpu.fp32_math import Fp32Math, fp32_math
from tests.fakes.cards import FakeCard

CARD = FakeCard(torch.device("cpu"), "a card")


def switches() -> tuple[str, str]:
    """Of products and of convolutions."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.mark.parametrize(("mode", "name"), [("full", "ieee"), ("tf32", "tf32")])
def test_both_kinds_of_work_are_switched_and_switched_back(mode: Fp32Math, name: str) -> None:
    """Inside the block products and convolutions are computed alike; after it, also after one that
    failed, both are as before, and torch's older switches can still be read."""
    before = switches()
    with pytest.raises(ZeroDivisionError), fp32_math(mode, CARD):
        inside = switches()
        torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3))
        raise ZeroDivisionError

    assert inside == (name, name)
    assert switches() == before
    assert torch.backends.cudnn.allow_tf32 in (True, False)
    assert torch.backends.cuda.matmul.allow_tf32 in (True, False)


def test_a_cpu_is_left_alone() -> None:
    """There is nothing to switch."""
    before = switches()
    with fp32_math("tf32", choose_device("cpu")):
        assert switches() == before

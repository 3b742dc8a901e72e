"""Choosing a device."""

from __future__ import annotations

import pytest
import torch

from miner.errors import DeviceError
from miner.gpu.device import choose_device

CUDA = torch.cuda.is_available()


def test_the_cpu_computes_in_single_precision() -> None:
    """On the CPU ``auto`` is float32, and memory can be asked for."""
    device = choose_device("cpu")

    assert device.torch_device.type == "cpu"
    assert device.dtype("auto") == torch.float32
    assert device.dtype("bfloat16") == torch.bfloat16
    assert device.available_bytes() > 0
    assert device.peak_bytes() > 0


@pytest.mark.skipif(CUDA, reason="there is a CUDA device here")
def test_cuda_that_is_not_there_is_an_error() -> None:
    """Asking for CUDA without it says so; ``auto`` takes the CPU."""
    with pytest.raises(DeviceError, match="MINER_DEVICE"):
        choose_device("cuda")
    assert choose_device("auto").name == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="no CUDA device here")
def test_auto_takes_cuda_where_it_is() -> None:
    """With a GPU ``auto`` is the GPU, in bfloat16."""
    device = choose_device("auto")

    assert device.is_cuda
    assert device.dtype("auto") == torch.bfloat16


def test_the_card_of_a_cpu_is_the_machines_memory() -> None:
    """Without a GPU the plan has the host's memory, and no compute capability."""
    card = choose_device("cpu").card()

    assert card.capability is None
    assert not card.is_cuda
    assert 0 < card.free_bytes <= card.total_bytes

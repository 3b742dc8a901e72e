"""What makes networks faster changes no picture, and never fails where it cannot help."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from miner.gpu.device import choose_device
from miner.gpu.quantise import make_small
from miner.pipeline.faster import compile_blocks, convolutions_channels_last
from tests.gpu.networks import TINY_FLUX


def denoised(network: nn.Module, side: int, words: int = 4) -> torch.Tensor:
    """The output for a picture of ``side`` times ``side`` tokens."""
    generator = torch.Generator().manual_seed(side)
    with torch.no_grad():
        out: torch.Tensor = network(
            hidden_states=torch.randn(1, side * side, 64, generator=generator),
            encoder_hidden_states=torch.randn(1, words, 128, generator=generator),
            pooled_projections=torch.randn(1, 64, generator=generator),
            timestep=torch.ones(1),
            img_ids=torch.zeros(side * side, 3),
            txt_ids=torch.zeros(words, 3),
        ).sample
    return out


@pytest.mark.parametrize("small", [False, True])
def test_more_shapes_than_torch_compiles_are_painted_too(small: bool) -> None:
    """Twelve sizes, where torch keeps eight variants: none fails, and each result is the exact
    one, with weights in a byte as well."""
    torch.manual_seed(0)
    plain = FluxTransformer2DModel(**TINY_FLUX).eval()
    if small:
        make_small(plain, "int8", torch.float32, choose_device("cpu"), stays=True)
    wanted = [denoised(plain, side) for side in range(2, 14)]
    assert compile_blocks(plain, backend="eager")
    found = [denoised(plain, side) for side in range(2, 14)]
    torch.compiler.reset()

    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_has_no_repeated_blocks_is_left_alone() -> None:
    """A text encoder or a VAE is no reason for an error."""
    assert not compile_blocks(nn.Linear(2, 2))


def test_convolutions_read_channels_last_and_say_the_same() -> None:
    """Only the order in memory changes, of convolutions alone."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 4))
    picture = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(picture)
        convolutions_channels_last(network)
        after = network(picture)

    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)

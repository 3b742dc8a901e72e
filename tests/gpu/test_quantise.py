"""Which layers of a network are made small, at full size and in a tiny one that runs."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.hooks.group_offloading import ModuleGroup
from torch import nn
from transformers import T5Config, T5EncoderModel

from miner.gpu.catalogue import load_catalogue
from miner.gpu.device import Device, choose_device
from miner.gpu.parking import weight_bytes
from miner.gpu.quantise import QUANTISED, eligible, make_small
from miner.gpu.row_scaled import RowScaledLinear
from miner.settings.memory import Precision
from tests.gpu.networks import TINY_FLUX, TINY_T5

META = Device(torch.device("meta"), "meta")
CPU = choose_device("cpu")
NEEDS_BITSANDBYTES = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
MODES = [
    pytest.param(mode, marks=NEEDS_BITSANDBYTES if mode == "nf4" else ())
    for mode in sorted(QUANTISED)
]


def full_size_flux() -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = FluxTransformer2DModel().to(torch.bfloat16)
    return network


@pytest.mark.parametrize("mode", MODES)
def test_flux_takes_what_the_catalogue_says(mode: Precision) -> None:
    """At full size, within 3 % of the plan; its modulation layers and the ends of its blocks, a
    fifth of a network in 8 bits, are small as well."""
    network = full_size_flux()
    make_small(network, mode, torch.bfloat16, META, stays=True)
    planned = load_catalogue()["flux-schnell"].parts["transformer"].weight_bytes(mode)

    assert weight_bytes(network) == pytest.approx(planned, rel=0.03)


def test_only_the_ends_of_flux_stay_wide() -> None:
    """Input, output, and what makes its time and text vectors: 28 million weights of 12 billion."""
    network = full_size_flux()
    small = eligible(network)
    wide = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and name not in small
    }

    assert "transformer_blocks.0.norm1.linear" in small
    assert "single_transformer_blocks.37.proj_out" in small
    assert {name.split(".")[0] for name in wide} == {
        *("x_embedder", "context_embedder", "time_text_embed", "norm_out", "proj_out")
    }
    assert sum(module.weight.numel() for module in wide.values()) < 60e6


def test_a_small_network_runs_with_every_operand_on_another_device() -> None:
    """At full size on torch's device without memory: an operand left behind would raise."""
    network = full_size_flux()
    make_small(network, "int8", torch.bfloat16, META, stays=True)

    def empty(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, device="meta", dtype=torch.bfloat16)

    with torch.no_grad():
        out = network(
            hidden_states=empty(1, 1024, 64),
            encoder_hidden_states=empty(1, 256, 4096),
            pooled_projections=empty(1, 768),
            timestep=torch.ones(1, device="meta"),
            img_ids=empty(1024, 3),
            txt_ids=empty(256, 3),
        ).sample
    assert (out.shape, out.dtype) == ((1, 1024, 64), torch.bfloat16)


@pytest.mark.parametrize("mode", MODES)
def test_t5_computes_nearly_the_same_with_all_its_layers_small(mode: Precision) -> None:
    """Its last feed-forward layer included, before which the library casts to the weights' type:
    with rounded weights that would leave nothing of the result, and no error."""
    torch.manual_seed(0)
    network = T5EncoderModel(T5Config(**TINY_T5)).to(torch.bfloat16).eval()
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        exact = network(tokens).last_hidden_state.float()
        make_small(network, mode, torch.bfloat16, CPU, stays=True)
        found = network(tokens).last_hidden_state.float()
    wo = network.encoder.block[0].layer[1].DenseReluDense.wo
    similarity = float(torch.cosine_similarity(exact.flatten(), found.flatten(), 0))

    assert wo.weight.element_size() == 1
    assert similarity > {"int8": 0.9995, "fp8": 0.997, "nf4": 0.97}[mode]


def test_layers_go_back_to_where_they_were_unless_they_stay() -> None:
    """A network that waits on the host is on the host again after the device rounded its layers."""
    network = FluxTransformer2DModel(**TINY_FLUX)
    make_small(network, "int8", torch.float32, META, stays=True)
    devices = {m.weight.device.type for m in network.modules() if isinstance(m, RowScaledLinear)}
    assert devices == {"meta"}

    other = FluxTransformer2DModel(**TINY_FLUX)
    make_small(other, "int8", torch.float32, CPU, stays=False)
    assert {tensor.device.type for tensor in other.parameters()} == {"cpu"}


class Backend:
    """In the place of torch's module for a device: its streams do nothing."""

    def stream(self, _stream: object) -> nullcontext[None]:
        return nullcontext()

    def current_stream(self) -> Backend:
        return self

    def synchronize(self) -> None:
        """Nothing is ever queued."""


@pytest.mark.parametrize("mode", ["int8", "fp8"])
def test_a_streamed_block_leaves_the_device(mode: Precision) -> None:
    """The library that streams blocks takes parameters back and leaves buffers: what is left of a
    block after it ran, the scales of its rows, is little."""
    network = FluxTransformer2DModel(**TINY_FLUX)
    make_small(network, mode, torch.float32, CPU, stays=False)
    block = network.transformer_blocks[0]
    group = ModuleGroup([block], torch.device("cpu"), torch.device("cpu"), block)
    group.stream, group._torch_accelerator_module = Backend(), Backend()
    group.low_cpu_mem_usage = True
    group.cpu_param_dict = group._init_cpu_param_dict()
    on_device = {tensor: host.clone() for tensor, host in group.cpu_param_dict.items()}
    group._pinned_memory_tensors = lambda: nullcontext(on_device)

    def there() -> int:
        """Bytes of the tensors that hold the device's copy."""
        held = (t for t, copy in on_device.items() if t.data_ptr() == copy.data_ptr())
        return sum(t.numel() * t.element_size() for t in held)

    group.onload_()
    assert there() == weight_bytes(block)
    group.offload_()
    assert there() < 0.05 * weight_bytes(block)

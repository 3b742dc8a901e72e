"""Networks with small weights: their linear layers are replaced, one by one, once they are read.

int8 and fp8 are layers of our own (``row_scaled``); 4 bits are bitsandbytes' nf4. Every layer is
rounded on the device that computes, so that a network larger than the device's memory can be made
small, and the host never holds more than the network as it was read.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from miner.gpu.device import Device
from miner.gpu.row_scaled import STORED, RowScaledLinear
from miner.settings.memory import Precision

QUANTISED: frozenset[Precision] = frozenset({"int8", "fp8", "nf4"})

KEPT_WIDE = re.compile(
    r"^(norm_out\b.*|proj_out|x_embedder|context_embedder|time_text_embed\b.*|lm_head)$"
)
"""Names of linear layers at a network's ends, which are small and sensitive: FLUX's input and
output, and what makes its time and text vectors. Layers inside its blocks have other names."""

GATED = "T5DenseGatedActDense"
"""A class of transformers that casts what its last layer is given to that layer's own weight
type, which a rounded weight does not compute in."""

NF4_BLOCK = 64
"""Weights that share a scale: bitsandbytes' smallest block, and the most exact."""


class GatedFeedForward(nn.Module):
    """T5's gated feed-forward layer without the cast to the last layer's weight type.

    Args:
        gated: the layer of transformers whose parts are taken.
    """

    def __init__(self, gated: nn.Module) -> None:
        super().__init__()
        self.wi_0, self.wi_1, self.wo = (gated.get_submodule(n) for n in ("wi_0", "wi_1", "wo"))
        self.act = gated.get_submodule("act")

    def forward(self, x: Tensor) -> Tensor:
        """[...,D] of ``x`` [...,D]: ``wo(act(wi_0(x)) * wi_1(x))``."""
        gated: Tensor = self.wo(self.act(self.wi_0(x)) * self.wi_1(x))
        return gated


def make_small(
    network: nn.Module, precision: Precision, dtype: torch.dtype, device: Device, stays: bool
) -> None:
    """Replaces a network's linear layers by ones with weights of ``precision``.

    Args:
        network: loaded and not in use.
        precision: one of ``QUANTISED``, settled for this machine.
        dtype: computed in.
        device: rounds the weights.
        stays: the rounded layers are left on the device; otherwise they go where they came from.
    """
    for parent, name, linear in list(_eligible(network)):
        was_on = linear.weight.device
        small = _small(linear, precision, dtype, device.torch_device)
        setattr(parent, name, small if stays else small.to(was_on))
    for parent, name, gated in list(_children(network)):
        if type(gated).__name__ == GATED:
            setattr(parent, name, GatedFeedForward(gated))


def eligible(network: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers that ``make_small`` replaces, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not KEPT_WIDE.match(name)
    }


def _eligible(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Each layer with its parent and its name there."""
    for path, linear in eligible(network).items():
        parent, _, name = path.rpartition(".")
        yield network.get_submodule(parent), name, linear


def _children(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in network.modules():
        for name, child in parent.named_children():
            yield parent, name, child


def _small(
    linear: nn.Linear, precision: Precision, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    if precision in STORED:
        return RowScaledLinear.of(linear, precision, device)
    return _nf4(linear, dtype, device)


def _nf4(linear: nn.Linear, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The layer of bitsandbytes, its weights packed already."""
    bnb = importlib.import_module("bitsandbytes")  # it may be missing where nf4 is not used
    packed, state = bnb.functional.quantize_4bit(
        linear.weight.detach().to(device, dtype).contiguous(),
        blocksize=NF4_BLOCK,
        compress_statistics=False,
        quant_type="nf4",
    )
    has_bias = linear.bias is not None
    layer: nn.Module = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=has_bias,
        compute_dtype=dtype,
        compress_statistics=False,
        quant_type="nf4",
        device="meta",
    )
    layer.weight = bnb.nn.Params4bit(
        packed,
        requires_grad=False,
        quant_state=state,
        blocksize=NF4_BLOCK,
        compress_statistics=False,
        quant_type="nf4",
        bnb_quantized=True,
        module=layer,
    )
    layer.quant_state = state  # the layer looks for it here too
    if has_bias:
        layer.bias = nn.Parameter(linear.bias.detach().to(device), requires_grad=False)
    return layer

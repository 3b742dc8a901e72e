"""Loading a network with small weights: int8, nf4 and fp8, by the libraries' own means.

int8 is torchao's for weights only: with the activations too it is slow unless compiled. 4-bit
weights of torchao are slow at these sizes, so 4 bits means bitsandbytes' nf4. fp8 needs no library:
each layer's weights lie in eight bits and are widened while the layer runs.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

import torch
from diffusers import BitsAndBytesConfig as DiffusersNf4
from diffusers import TorchAoConfig as DiffusersTorchAo
from diffusers.hooks import apply_layerwise_casting
from diffusers.hooks.layerwise_casting import apply_layerwise_casting_hook
from transformers import BitsAndBytesConfig as TransformersNf4
from transformers import TorchAoConfig as TransformersTorchAo

from miner.gpu.device import Device
from miner.settings.memory import Precision

Library = Literal["diffusers", "transformers"]
"""Whose ``from_pretrained`` reads the network."""

STORAGE = torch.float8_e4m3fn
"""Of fp8: three bits of mantissa, which weights need more than range."""

KEPT_WIDE = ("norm", "embed", "shared", "proj_in$", "proj_out$", "relative")
"""Names of layers that are small and sensitive: they stay as they are."""

WHOLE = ("T5DenseGatedActDense", "T5DenseActDense")
"""Classes that look at the type of their own weights and would compute in it: they are widened as
one, before they look."""


def loading_options(
    precision: Precision, library: Library, dtype: torch.dtype, device: Device
) -> dict[str, Any]:
    """What ``from_pretrained`` is told beside the type; nothing for precisions without a library.

    Args:
        precision: settled: its library is there.
        library: that reads the network.
        dtype: computed in.
        device: that makes the weights small where it is a GPU, each as it is read.
    """
    where = {"device_map": {"": str(device.torch_device)}} if device.is_cuda else {}
    if precision == "int8":
        torchao = importlib.import_module("torchao.quantization")  # it may be missing

        of = DiffusersTorchAo if library == "diffusers" else TransformersTorchAo
        # The version is named because the library warns of a change of its default.
        return {**where, "quantization_config": of(torchao.Int8WeightOnlyConfig(version=2))}
    if precision == "nf4":
        nf4 = DiffusersNf4 if library == "diffusers" else TransformersNf4
        config = nf4(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        return {**where, "quantization_config": config}
    return {}


def narrow(network: torch.nn.Module, dtype: torch.dtype) -> None:
    """Has the layers of a loaded network keep their weights in fp8 and compute in ``dtype``."""
    whole = [name for name, one in network.named_modules() if type(one).__name__ in WHOLE]
    for name in whole:
        apply_layerwise_casting_hook(network.get_submodule(name), STORAGE, dtype, False)
    apply_layerwise_casting(
        network,
        storage_dtype=STORAGE,
        compute_dtype=dtype,
        skip_modules_pattern=(*KEPT_WIDE, r"DenseReluDense"),
    )

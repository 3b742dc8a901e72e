"""A whole preset with random weights, of the same classes and file layouts as the real ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from miner.gpu.device import choose_device
from miner.pipeline.painter_synthetic import SCHNELL
from miner.pipeline.text_to_image import TextToImage
from miner.settings import TextToImageSettings

TRIPOSR = Path(__file__).parent.parent / "data" / "triposr-small"
SIDE_PX = 320
"""What rembg's session for a custom U2-Net feeds its network."""


def write_preset(folder: Path, steps: int = 2) -> Path:
    """All models below ``folder`` and a preset file that names them by absolute paths."""
    write_flux(folder / "flux")
    write_matting(folder / "matting.onnx", disc())
    shutil.copytree(TRIPOSR, folder / "triposr", ignore=shutil.ignore_patterns("expected*"))
    preset = folder / "tiny.toml"
    preset.write_text(
        f"""
[text_to_image]
weights = "{folder}/flux"
template = "{{prompt}}, whole"
steps = {steps}
size_px = 64
max_sequence_length = 16
batch_size = 2
[background]
weights = "{folder}/matting.onnx"
model = "u2net_custom"
[reconstruct]
weights = "{folder}/triposr"
[surface]
count = 7000
resolution = 64
base_resolution = 32
"""
    )
    return preset


TINY: dict[str, dict[str, Any]] = {
    "transformer": {
        "in_channels": 64,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (4, 6, 6),
    },
    "vae": {**SCHNELL["vae"], "block_out_channels": (16,) * 4, "norm_num_groups": 8},
    "clip": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "eos_token_id": 1,
    },
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 1,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
    },
}
"""FLUX, about two million parameters, most of them embeddings."""


def write_flux(folder: Path) -> None:
    """FLUX in the diffusers layout."""
    torch.manual_seed(0)
    settings = TextToImageSettings(weights="none", max_sequence_length=16)
    TextToImage.synthetic(settings, choose_device("cpu"), TINY).save(folder)


def disc(value: float = 1.0, radius: float = 0.6) -> NDArray[np.float32]:
    """A mask [320,320]: ``value`` within a circle, zero outside."""
    axis = np.linspace(-1, 1, SIDE_PX)
    inside = np.hypot(*np.meshgrid(axis, axis)) < radius
    return inside.astype(np.float32) * np.float32(value)


def write_matting(path: Path, mask: NDArray[np.float32]) -> None:
    """A network that looks at its picture and answers ``mask`` whatever it sees."""
    constants = {
        "mask": mask[None, None],
        "zero": np.zeros((), np.float32),
        "axes": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "mask"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "matting",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, path)

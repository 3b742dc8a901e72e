"""A CLIP of this world that begins where the shipped networks ended.

Its picture half is TripoSR's image tokenizer, its text half FLUX's first text encoder: both know
the world already, and only what ties them together is left to learn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel

from miner.triposr import TripoSR
from miner.triposr.image_tokens import VisionTransformer

from .export import WEIGHTS

WIDTH = 96
"""Of the space that pictures and texts share."""

_RENAMED = {
    "self_attn.q_proj": "attention.q_proj",
    "self_attn.k_proj": "attention.k_proj",
    "self_attn.v_proj": "attention.v_proj",
    "self_attn.out_proj": "attention.o_proj",
    "layer_norm1": "layernorm_before",
    "layer_norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def blank() -> CLIPModel:
    """A CLIP of the shapes of the shipped networks, with random weights."""
    texts = CLIPTextModel.from_pretrained(WEIGHTS / "flux" / "text_encoder").config
    vit = TripoSR.load(WEIGHTS / "triposr").config.vit
    pictures = {
        "hidden_size": vit.hidden_size,
        "intermediate_size": vit.intermediate_size,
        "num_hidden_layers": vit.num_hidden_layers,
        "num_attention_heads": vit.num_attention_heads,
        "image_size": vit.image_size,
        "patch_size": vit.patch_size,
        "hidden_act": "gelu",
    }
    return CLIPModel(
        CLIPConfig(
            text_config={**texts.to_dict(), "projection_dim": WIDTH, "dtype": "float32"},
            vision_config={**pictures, "projection_dim": WIDTH},
            projection_dim=WIDTH,
        )
    )


@torch.no_grad()
def warm_start() -> CLIPModel:
    """The same, with the shipped networks' weights in place of random ones."""
    model = blank().float()
    texts = CLIPTextModel.from_pretrained(WEIGHTS / "flux" / "text_encoder", dtype=torch.float32)
    model.text_model.load_state_dict(texts.state_dict())
    tokenizer = TripoSR.load(WEIGHTS / "triposr").image_tokenizer.model
    _take(tokenizer, model.vision_model)
    return model


def _take(source: VisionTransformer, target: nn.Module) -> None:
    """Copies a ViT into CLIP's, whose patches have no bias and whose tokens are normalised first.

    The bias goes into the positions. The first normalisation starts as close to nothing as one
    factor and one shift per channel can bring it.
    """
    weights: dict[str, Tensor] = dict(target.state_dict())
    embeddings = source.embeddings
    found = source.state_dict()
    positions = embeddings.position_embeddings[0].clone()
    positions[1:] += found["embeddings.patch_embeddings.projection.bias"]
    weights["embeddings.class_embedding"] = embeddings.cls_token[0, 0]
    weights["embeddings.patch_embedding.weight"] = found[
        "embeddings.patch_embeddings.projection.weight"
    ]
    weights["embeddings.position_embedding.weight"] = positions
    spread = embeddings(torch.zeros(1, 3, 64, 64))[0].std(-1).mean()
    weights["pre_layrnorm.weight"] = torch.full_like(weights["pre_layrnorm.weight"], float(spread))
    for i in range(len(source.layers)):
        for mine, theirs in _RENAMED.items():
            for part in ("weight", "bias"):
                weights[f"encoder.layers.{i}.{mine}.{part}"] = found[f"layers.{i}.{theirs}.{part}"]
    for part in ("weight", "bias"):
        weights[f"post_layernorm.{part}"] = found[f"layernorm.{part}"]
    target.load_state_dict(weights)

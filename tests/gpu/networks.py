"""Sizes of tiny networks of the published classes."""

from __future__ import annotations

from typing import Any

TINY_T5: dict[str, Any] = {
    "vocab_size": 256,
    "d_model": 128,
    "d_kv": 32,
    "d_ff": 256,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}
TINY_FLUX: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 32,
    "num_attention_heads": 4,
    "joint_attention_dim": 128,
    "pooled_projection_dim": 64,
    "axes_dims_rope": (8, 12, 12),
}

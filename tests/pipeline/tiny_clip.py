"""A CLIP with random weights in the layout of transformers, and Gaussians for it to look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel

from miner.geometry.gaussians import Gaussians, from_activated
from miner.pipeline.painter_synthetic import letter_clip_tokenizer


def write_clip(folder: Path) -> Path:
    """It reads letter by letter and looks at 32 px."""
    torch.manual_seed(0)
    tokenizer = letter_clip_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    texts = {
        **sizes,
        "num_attention_heads": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    pictures = {**sizes, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=texts, vision_config=pictures, projection_dim=16))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    normal = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normal))
    return folder


def ball(count: int = 800, rgb: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> Gaussians:
    """Small opaque Gaussians on a sphere, its diameter 1.5."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=(count, 3))
    means *= 0.75 / np.linalg.norm(means, axis=1, keepdims=True)
    return from_activated(
        means=means.astype(np.float32),
        scales=np.full((count, 3), 1.2 / np.sqrt(count), np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        opacities=np.full(count, 0.99, np.float32),
        colors=np.tile(np.array(rgb, np.float32), (count, 1)),
    )

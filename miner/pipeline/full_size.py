"""Networks of the published models at full size, on torch's device without memory.

Sizes are facts of the published configurations. Where a model's folder is on this machine its own
configuration is read in their place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from miner.dreamgaussian.guidance_mvdream import PUBLISHED_UNET, unet_sizes
from miner.dreamgaussian.guidance_zero123 import CAMERA_NUMBERS
from miner.errors import WeightsError
from miner.pipeline.painter_networks import class_of, kind_of
from miner.pipeline.painter_synthetic import SCHNELL

Sizes = Mapping[str, Any]


class Architecture(NamedTuple):
    """A class of diffusers or transformers, and the sizes where they are not its defaults."""

    kind: str
    sizes: Sizes


CLIP_L_TEXT: Sizes = SCHNELL["clip"]
CLIP_H_TEXT: Sizes = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
}
CLIP_L_VISION: Sizes = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}
SD_VAE: Sizes = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
SD_1_UNET: Sizes = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SD_2_UNET: Sizes = {
    "sample_size": 64,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}

SD_1 = {
    "text_encoder": Architecture("CLIPTextModel", CLIP_L_TEXT),
    "unet": Architecture("UNet2DConditionModel", SD_1_UNET),
    "vae": Architecture("AutoencoderKL", SD_VAE),
}
SD_2 = {
    "text_encoder": Architecture("CLIPTextModel", CLIP_H_TEXT),
    "unet": Architecture("UNet2DConditionModel", SD_2_UNET),
    "vae": Architecture("AutoencoderKL", SD_VAE),
}
ZERO123 = {
    "image_encoder": Architecture("CLIPVisionModelWithProjection", CLIP_L_VISION),
    "unet": Architecture("UNet2DConditionModel", {**SD_1_UNET, "in_channels": 8}),
    "vae": Architecture("AutoencoderKL", SD_VAE),
}

PUBLISHED: Mapping[str, Mapping[str, Architecture]] = {
    "flux-schnell": {
        "text_encoder": Architecture("CLIPTextModel", CLIP_L_TEXT),
        "text_encoder_2": Architecture("T5EncoderModel", SCHNELL["t5"]),
        "transformer": Architecture("FluxTransformer2DModel", SCHNELL["transformer"]),
        "vae": Architecture("AutoencoderKL", SCHNELL["vae"]),
    },
    "stable-diffusion-1.5": SD_1,
    "sd-turbo": SD_2,
    "sd-2-1-base": SD_2,
    "zero123-xl": ZERO123,
    "stable-zero123": ZERO123,
    "mvdream": {
        **SD_2,
        "unet": Architecture("UNet2DConditionModel", unet_sizes(PUBLISHED_UNET)),
    },
    "clip-vit-l14": {
        "": Architecture("CLIPModel", {"text_config": CLIP_L_TEXT, "vision_config": CLIP_L_VISION})
    },
}
"""By the name of the weights and of the network's folder in them."""


def build(architecture: Architecture) -> nn.Module:
    """The network, in float32, without memory."""
    kind = class_of(architecture.kind, "diffusers")
    with torch.device("meta"):
        if kind is not None:
            network: nn.Module = kind(**architecture.sizes)
        else:
            kind = class_of(architecture.kind, "transformers")
            network = kind(kind.config_class(**architecture.sizes))
    return network


def build_from(folder: Path) -> nn.Module:
    """The network that a folder's configuration describes, in float32, without memory.

    Raises:
        WeightsError: the folder does not say what is in it, or not in words its class knows.
    """
    try:
        kind = kind_of(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):
            if "_class_name" in config:
                network: nn.Module = kind.from_config(config)
            else:
                network = kind(kind.config_class.from_dict(config))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder}: its config.json describes no network: {error}") from error
    return network


def find(weights: str, names: tuple[str, ...], folder: Path | None) -> dict[str, nn.Module]:
    """Networks of a model by name: from its folder on this machine, or else as published.

    Args:
        weights: the model's name.
        names: of the networks' folders in it.
        folder: of the model, where it is on this machine.

    Raises:
        WeightsError: the model is not on this machine and nothing is known of it.
    """
    if folder is not None:
        return {name: build_from(folder / name) for name in names}
    known = PUBLISHED.get(weights)
    if known is None:
        raise WeightsError(f"{weights}: is not on this machine, and its sizes are not known")
    return {name: build(known[name]) for name in names}


def projection(encoder: Any) -> nn.Linear:
    """zero123's linear layer for an image encoder, without memory."""
    width = encoder.config.projection_dim
    return nn.Linear(width + CAMERA_NUMBERS, width, device="meta")

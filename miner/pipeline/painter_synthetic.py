"""A FLUX with random weights: real shapes and times, and nothing to download."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.utils import logging as transformers_logging

from miner.gpu.device import Device
from miner.settings import TextToImageSettings

SCHNELL: dict[str, dict[str, Any]] = {
    "transformer": {},
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 16,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
    },
    "clip": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "eos_token_id": 1,
    },
    "t5": {
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    },
}
"""Sizes of FLUX.1-schnell's parts where they are not the defaults of their classes."""


def synthetic_flux(
    settings: TextToImageSettings,
    device: Device,
    sizes: Mapping[str, dict[str, Any]] = SCHNELL,
) -> Any:
    """A diffusers pipeline whose parts were built on the device itself; it reads letter by letter.

    Args:
        settings: the number type, and how many tokens are read.
        device: on which everything is made.
        sizes: of the parts, where they are not the defaults of their classes.
    """
    transformers_logging.set_verbosity_error()
    with torch.device(device.torch_device), _default_dtype(device.dtype(settings.dtype)):
        pipeline = diffusers.FluxPipeline(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
            vae=diffusers.AutoencoderKL(**sizes["vae"]),
            text_encoder=CLIPTextModel(CLIPTextConfig(**sizes["clip"])),
            tokenizer=letter_clip_tokenizer(),
            text_encoder_2=T5EncoderModel(T5Config(**sizes["t5"])),
            tokenizer_2=letter_t5_tokenizer(settings.max_sequence_length),
            transformer=diffusers.FluxTransformer2DModel(**sizes["transformer"]),
        )
    return pipeline.to(device.torch_device)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Modules built in the block get weights of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def letter_clip_tokenizer() -> CLIPTokenizer:
    """One token a letter: enough where the weights are random, and nothing to download."""
    tokens = ["<|startoftext|>", "<|endoftext|>"]
    tokens += [c + end for c in string.printable.strip() for end in ("", "</w>")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def letter_t5_tokenizer(length: int) -> T5Tokenizer:
    """As the other one, for the other encoder."""
    pieces = ["<pad>", "</s>", "<unk>", "\N{LOWER ONE EIGHTH BLOCK}", *string.printable.strip()]
    return T5Tokenizer(
        vocab=[(piece, 0.0) for piece in pieces], extra_ids=0, model_max_length=length
    )

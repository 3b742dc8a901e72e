"""Tiny diffusion models with random weights, in folders of the published layouts."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WIDTH = 32
LATENTS = 4
SIZE = 32

SIZES = {
    "model_channels": 32,
    "channel_mult": [1, 2],
    "attention_resolutions": [1],
    "num_res_blocks": 1,
    "num_head_channels": 16,
    "context_dim": WIDTH,
    "camera_dim": 16,
    "image_size": 8,
    "in_channels": LATENTS,
    "out_channels": LATENTS,
}


def unet(in_channels: int = LATENTS, **more: object) -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        in_channels=in_channels,
        out_channels=LATENTS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 4),
        **more,
    ).eval()


def mv_unet() -> UNet2DConditionModel:
    """What ``SIZES`` describes, in diffusers' own words."""
    return unet(
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )


def save_common(folder: Path) -> None:
    torch.manual_seed(2)
    AutoencoderKL(
        block_out_channels=(16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
    ).save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")


def save_zero123(folder: Path, projection: str = "clip_camera_projection") -> Path:
    save_common(folder)
    unet(2 * LATENTS).save_pretrained(folder / "unet")
    torch.manual_seed(3)
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
            projection_dim=24,
        )
    ).save_pretrained(folder / "image_encoder")
    tensors = {"proj.weight": torch.randn(WIDTH, 28), "proj.bias": torch.randn(WIDTH)}
    (folder / projection).mkdir()
    save_file(tensors, folder / projection / "diffusion_pytorch_model.safetensors")
    return folder


def save_text(folder: Path) -> None:
    letters = {f"{letter}{end}" for letter in "abcdefghijklmnopqrstuvwxyz," for end in ("", "</w>")}
    words = ["<|startoftext|>", "<|endoftext|>", *sorted(letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    assert Tokenizer(models.BPE(vocabulary, [])) is not None
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24).save_pretrained(
        folder / "tokenizer"
    )
    torch.manual_seed(4)
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=24,
            bos_token_id=0,
            eos_token_id=1,
        )
    ).save_pretrained(folder / "text_encoder")


def original_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A tiny multi-view U-Net's tensors under the names of the original code, by a table written
    out for its two levels.
    """
    blocks = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "class_embedding.linear_1": "camera_embed.0",
        "class_embedding.linear_2": "camera_embed.2",
        "down_blocks.0.resnets.0": "input_blocks.1.0",
        "down_blocks.0.attentions.0": "input_blocks.1.1",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
        "down_blocks.1.resnets.0": "input_blocks.3.0",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "up_blocks.0.resnets.0": "output_blocks.0.0",
        "up_blocks.0.resnets.1": "output_blocks.1.0",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
        "up_blocks.1.resnets.0": "output_blocks.2.0",
        "up_blocks.1.attentions.0": "output_blocks.2.1",
        "up_blocks.1.resnets.1": "output_blocks.3.0",
        "up_blocks.1.attentions.1": "output_blocks.3.1",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    within = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    renamed = {}
    for name, tensor in state.items():
        block = next(key for key in blocks if name.startswith(key + "."))
        rest = name[len(block) + 1 :]
        if ".resnets." in block:
            part, _, end = rest.partition(".")
            rest = f"{within[part]}.{end}"
        renamed[f"{blocks[block]}.{rest}"] = tensor
    return renamed

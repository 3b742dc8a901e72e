"""The networks of the small zero123, in the layout of the published one, and their folder.

Stock diffusers and transformers classes and one linear layer. The picture is given twice: as clean
latents beside the noisy ones, and as one token made of its CLIP embedding and four camera numbers.
The VAE is the small FLUX's and is not copied: pictures lie on the one background that it knows.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from .dataset import SIZE

WIDTH, TOKEN = 96, 96
"""Channels of the U-Net, which has one level: 64 cells are few enough to attend to everywhere; and
of CLIP's embedding and the token."""

LATENTS = 16
CAMERA_NUMBERS = 4


class Zero123(nn.Module):
    """The three networks that are trained together: U-Net, picture encoder and linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(
            sample_size=SIZE // 8,
            in_channels=2 * LATENTS,
            out_channels=LATENTS,
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            block_out_channels=(WIDTH,),
            layers_per_block=1,
            cross_attention_dim=TOKEN,
            attention_head_dim=4,  # the number of heads, whatever its name says
            norm_num_groups=16,
        )
        self.image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=TOKEN,
                intermediate_size=2 * TOKEN,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=SIZE,
                patch_size=8,
                projection_dim=TOKEN,
                hidden_act="gelu",
            )
        )
        self.projection = nn.Linear(TOKEN + CAMERA_NUMBERS, TOKEN)

    @torch.no_grad()
    def initialise(self) -> None:
        """The answer starts at zero."""
        nn.init.zeros_(self.unet.conv_out.weight)
        nn.init.zeros_(self.unet.conv_out.bias)

    def token(self, picture: Tensor, camera: Tensor) -> Tensor:
        """The token [B,1,TOKEN] of pictures [B,3,64,64] in [0,1] and cameras [B,4]."""
        mean = picture.new_tensor(OPENAI_CLIP_MEAN)[:, None, None]
        std = picture.new_tensor(OPENAI_CLIP_STD)[:, None, None]
        seen = self.image_encoder((picture - mean) / std).image_embeds
        token: Tensor = self.projection(torch.cat([seen, camera.to(seen.dtype)], -1))
        return token[:, None]

    def forward(self, noisy: Tensor, clean: Tensor, t: Tensor, token: Tensor) -> Tensor:
        """The noise [B,16,8,8] in ``noisy``, given the picture's latents ``clean``."""
        noise: Tensor = self.unet(torch.cat([noisy, clean], 1), t, token).sample
        return noise


def camera_numbers(
    elevation_deg: Tensor, azimuth_deg: Tensor, front_elevation_deg: Tensor
) -> Tensor:
    """What the linear layer is told of the way from the picture's camera to another, [B,4].

    As published: the fall in elevation in radians (positive is further down), sine and cosine of
    the turn to the right around the object, and the change of distance, here always none.
    """
    fall, turn = torch.deg2rad(front_elevation_deg - elevation_deg), torch.deg2rad(azimuth_deg)
    return torch.stack([fall, turn.sin(), turn.cos(), torch.zeros_like(turn)], -1)


def scheduler() -> DDIMScheduler:
    """Times and noise as the published zero123 has them; sampling starts at the noisiest time.

    The published spacing of the times starts earlier. With few steps that is seen: the model then
    takes pure noise for a picture in which something shows already.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def save(model: Zero123, folder: Path) -> None:
    """Write the folder in half precision, as the published conversion, without a VAE."""
    model.unet.half().save_pretrained(folder / "unet")
    model.image_encoder.half().save_pretrained(folder / "image_encoder")
    scheduler().save_pretrained(folder / "scheduler")
    _write_json(
        folder / "feature_extractor" / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": SIZE},
            "crop_size": {"height": SIZE, "width": SIZE},
            "image_mean": OPENAI_CLIP_MEAN,
            "image_std": OPENAI_CLIP_STD,
        },
    )
    linear = folder / "clip_camera_projection"
    linear.mkdir(parents=True, exist_ok=True)
    weights = {
        f"proj.{name}": value.half() for name, value in model.projection.state_dict().items()
    }
    save_file(weights, linear / "diffusion_pytorch_model.safetensors")
    _write_json(
        linear / "config.json",
        {
            "_class_name": "CLIPCameraProjection",
            "additional_embeddings": CAMERA_NUMBERS,
            "embedding_dim": TOKEN,
        },
    )
    _write_json(
        folder / "model_index.json",
        {
            "_class_name": "Zero123Pipeline",
            "clip_camera_projection": ["zero123", "CLIPCameraProjection"],
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": [None, None],
        },
    )


def _write_json(path: Path, values: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

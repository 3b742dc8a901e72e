"""MVDream: four views around the object, judged together against the prompt.

Shi et al., "MVDream" (2023). Stable Diffusion 2.1's U-Net with two changes: sixteen numbers of the
camera are added to the time's embedding, and self-attention reaches over all views of a group. The
first is a stock option of diffusers' U-Net, the second an attention processor. Weights are read
from the published conversion, a diffusers folder whose U-Net kept the original names; or from the
original checkpoint, put in place of the folder ``unet`` into one of Stable Diffusion 2.1 base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

from miner.dreamgaussian.guidance import Subject
from miner.dreamgaussian.guidance_latents import (
    LatentModel,
    guided,
    latent_model,
    load_scheduler,
    load_vae,
    read_tensors,
)
from miner.dreamgaussian.guidance_text import TextEncoder
from miner.dreamgaussian.poses import Pose, camera_matrices
from miner.dreamgaussian.settings import GuidanceSettings
from miner.errors import WeightsError
from miner.gpu.device import Device

VIEWS = 4
CAMERA_NUMBERS = 16

ORIGINAL_PREFIX = "model.diffusion_model."
"""Before the U-Net's names in the original checkpoint."""

PUBLISHED_UNET: Mapping[str, Any] = {
    "model_channels": 320,
    "channel_mult": [1, 2, 4, 4],
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "num_head_channels": 64,
    "context_dim": 1024,
    "camera_dim": CAMERA_NUMBERS,
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
}
"""Sizes of the published model, in the original's words, where a folder says nothing."""


class AcrossViews:
    """Self-attention over the tokens of all views of a group at once."""

    def __init__(self, views: int = VIEWS) -> None:
        self._views = views
        self._inner = AttnProcessor2_0()

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The processor's call: [group * views, L, C] in, and the same shape out."""
        shape = hidden_states.shape
        joined = hidden_states.reshape(shape[0] // self._views, self._views * shape[1], shape[2])
        result: Tensor = self._inner(attn, joined, *args, **kwargs)
        return result.reshape(shape)


class MVDream:
    """A loaded model of this kind, and the prompt it was last given."""

    wants_image = False
    group = VIEWS

    def __init__(self, model: LatentModel, text: TextEncoder, settings: GuidanceSettings) -> None:
        self.model = model
        self._text = text
        self._settings = settings
        self._embeddings = torch.empty(0)

    @classmethod
    def load(
        cls, folder: Path, vae_folder: Path | None, settings: GuidanceSettings, device: Device
    ) -> MVDream:
        """The model in a folder.

        Raises:
            WeightsError: a part is missing, or the U-Net's names or sizes are others.
        """
        unet = load_unet(folder / "unet" if (folder / "unet").is_dir() else folder)
        vae, scheduler = load_vae(folder, vae_folder), load_scheduler(folder)
        model = latent_model(unet, vae, scheduler, settings, device)
        return cls(model, TextEncoder.load(folder, model.device, model.dtype), settings)

    def networks(self) -> Sequence[nn.Module]:
        """All networks."""
        return [self.model.unet, self.model.vae, self._text.encoder]

    def prepare(self, subject: Subject, seed: int) -> None:
        """Reads the prompt and the negative prompt."""
        assert subject.prompt is not None, "this guidance needs a prompt"
        self._embeddings = self._text([subject.prompt, self._settings.negative_prompt])

    def loss(
        self, views: Tensor, poses: Sequence[Pose], progress: float, generator: torch.Generator
    ) -> Tensor:
        """Score distillation with weight 1, the mean over the views; whole groups of four."""
        latents = self.model.encode(views, self._settings.size_px)
        cameras = camera_matrices(poses).to(latents)
        told, free = (text.expand(len(poses), -1, -1) for text in self._embeddings[:, None])

        def predict(noisy: Tensor, time: int) -> Tensor:
            both = torch.cat([noisy, noisy]).to(self.model.dtype)
            output: Tensor = self.model.unet(
                both,
                time,
                torch.cat([told, free]),
                class_labels=torch.cat([cameras, cameras]),
            ).sample
            conditioned, unconditioned = output.chunk(2)
            return guided(conditioned, unconditioned, self._settings.guidance_scale)

        summed = self.model.distil(latents, predict, self._settings, progress, generator)
        return summed / len(views)


def load_unet(folder: Path) -> Any:
    """The U-Net in a folder, under the original's names or the published conversion's.

    Raises:
        WeightsError: the names or sizes are others.
    """
    path = folder / "config.json"
    sizes = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return unet_of(read_tensors(folder), {**PUBLISHED_UNET, **sizes}, str(folder))


def unet_of(tensors: Mapping[str, Tensor], sizes: Mapping[str, Any], source: str) -> Any:
    """Diffusers' U-Net, with attention across views, of tensors under the original's names.

    Args:
        tensors: by name, with or without ``model.diffusion_model.``; others are passed over.
        sizes: as the original's configuration calls them.
        source: named in errors.

    Raises:
        WeightsError: names or shapes do not fit.
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel(**unet_sizes(sizes))
    # The camera's two layers stand where the original code base has those of a class label.
    renamed = {
        name.removeprefix(ORIGINAL_PREFIX).replace("camera_embed.", "label_emb.0."): tensor
        for name, tensor in tensors.items()
    }
    wanted = (
        "time_embed.",
        "label_emb.",
        "input_blocks.",
        "middle_block.",
        "output_blocks.",
        "out.",
    )
    kept = {
        ORIGINAL_PREFIX + name: tensor
        for name, tensor in renamed.items()
        if name.startswith(wanted)
    }
    try:
        converted = convert_ldm_unet_checkpoint(kept, config=unet.config)
        unet.load_state_dict(converted, strict=True, assign=True)
    except (KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:200]
        raise WeightsError(f"{source}: is not MVDream's U-Net: {reason}") from error
    return attend_across_views(unet)


def attend_across_views(unet: Any, views: int = VIEWS) -> Any:
    """The same U-Net; every self-attention looks at all views of its group."""
    processors = {
        name: AcrossViews(views) if ".attn1." in name else processor
        for name, processor in unet.attn_processors.items()
    }
    unet.set_attn_processor(processors)
    return unet


def unet_sizes(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The original's sizes in diffusers' words."""
    channels = [sizes["model_channels"] * factor for factor in sizes["channel_mult"]]
    attends = [2**level in sizes["attention_resolutions"] for level in range(len(channels))]
    down = ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends]
    up = ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)]
    return {
        "sample_size": sizes["image_size"],
        "in_channels": sizes["in_channels"],
        "out_channels": sizes["out_channels"],
        "block_out_channels": tuple(channels),
        "down_block_types": tuple(down),
        "up_block_types": tuple(up),
        "layers_per_block": sizes["num_res_blocks"],
        "cross_attention_dim": sizes["context_dim"],
        # Called so in diffusers, it is the number of heads.
        "attention_head_dim": [channel // sizes["num_head_channels"] for channel in channels],
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": sizes["camera_dim"],
    }

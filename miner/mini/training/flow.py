"""Training of the small FLUX: the transformer and both text encoders, on encoded pictures.

``python -m miner.mini.training.flow DATA VAE_RUN RUN --minutes 40`` resumes from RUN/last.pt.

Rectified flow: x_t = (1 - t) x_0 + t noise, the target is noise - x_0. The sampler takes one to
four steps, so half of the times in training are exactly those that it visits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from .dataset import Objects, load
from .loop import Loop
from .pictures import paint_all
from .tokenizers import MAX_LENGTH, clip_tokenizer, t5_tokenizer
from .vae import build as build_vae
from .world.captions import turned_round
from .world.kinds import NAMES as KIND_NAMES
from .world.palette import NAMES as COLOR_NAMES

VISITED = (1.0, 3 / 4, 2 / 3, 1 / 2, 1 / 3, 1 / 4)
WIDTH = 64
"""Of both text encoders."""


class Flow(nn.Module):
    """The three networks that are trained together."""

    def __init__(self) -> None:
        super().__init__()
        clip, t5 = clip_tokenizer(), t5_tokenizer()
        self.transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=64,
            num_layers=2,
            num_single_layers=4,
            attention_head_dim=32,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=False,
            axes_dims_rope=(4, 14, 14),
        )
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=MAX_LENGTH,
                projection_dim=WIDTH,
                bos_token_id=clip.bos_token_id,
                eos_token_id=clip.eos_token_id,
                pad_token_id=clip.pad_token_id,
            )
        )
        self.text_encoder_2 = T5EncoderModel(
            T5Config(
                vocab_size=len(t5),
                d_model=WIDTH,
                d_kv=16,
                d_ff=2 * WIDTH,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                pad_token_id=0,
                eos_token_id=1,
            )
        )
        ids = FluxPipeline._prepare_latent_image_ids(1, 4, 4, torch.device("cpu"), torch.float32)
        self.register_buffer("img_ids", ids, persistent=False)
        self.register_buffer("txt_ids", torch.zeros(MAX_LENGTH, 3), persistent=False)

    @torch.no_grad()
    def initialise(self) -> None:
        """Modulations and the output start at zero, so that blocks start as the identity."""
        for name, module in self.transformer.named_modules():
            if isinstance(module, nn.Linear) and (".norm" in name or name.startswith("norm_out")):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)

    def forward(self, x: Tensor, t: Tensor, clip_ids: Tensor, t5_ids: Tensor) -> Tensor:
        """Velocity [B,16,64] of packed latents x [B,16,64] at times t [B]."""
        pooled = self.text_encoder(clip_ids).pooler_output
        words = self.text_encoder_2(t5_ids)[0]
        velocity: Tensor = self.transformer(
            hidden_states=x,
            timestep=t,
            encoder_hidden_states=words,
            pooled_projections=pooled,
            img_ids=self.img_ids,
            txt_ids=self.txt_ids,
            return_dict=False,
        )[0]
        return velocity


@torch.no_grad()
def normalised(vae: AutoencoderKL, pictures: np.ndarray) -> AutoencoderKL:
    """The same VAE with 1 x 1 convolutions that make its latents standard.

    Every channel has mean 0 and spread 1 after the pipeline's shift and scale.
    """
    means = torch.cat([m for m in _means(vae, pictures[:2000])]).permute(1, 0, 2, 3).flatten(1)
    mu, sigma = means.mean(1), means.std(1)
    out = AutoencoderKL.from_config(
        {**vae.config, "use_quant_conv": True, "use_post_quant_conv": True}
    )
    out.load_state_dict(vae.state_dict(), strict=False)
    scale, shift = out.config.scaling_factor, out.config.shift_factor
    forth, back = torch.zeros(32, 32), torch.diag(sigma * scale)
    forth[:16, :16] = torch.diag(1 / (sigma * scale))
    forth[16:, 16:] = torch.eye(16)
    out.quant_conv.weight.copy_(forth[..., None, None])
    out.quant_conv.bias.copy_(torch.cat([shift - mu / (sigma * scale), torch.full((16,), -8.0)]))
    out.post_quant_conv.weight.copy_(back[..., None, None])
    out.post_quant_conv.bias.copy_(mu - shift * sigma * scale)
    return out.eval().requires_grad_(False)


def _means(vae: AutoencoderKL, pictures: np.ndarray) -> list[Tensor]:
    vae = vae.to(memory_format=torch.channels_last)
    out = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for chunk in np.array_split(pictures, max(1, len(pictures) // 64)):
            x = torch.from_numpy(chunk).permute(0, 3, 1, 2).float() / 127.5 - 1
            x = x.contiguous(memory_format=torch.channels_last)
            out.append(vae.encode(x).latent_dist.mean.float().contiguous())
    return out


def pack(latents: Tensor) -> Tensor:
    """[B,16,8,8] to FLUX's packed [B,16,64]."""
    packed: Tensor = FluxPipeline._pack_latents(latents, len(latents), 16, 8, 8)
    return packed


def latents_of(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    """Packed, scaled latents [N,16,64] of pictures, by a normalised VAE."""
    z = torch.cat(_means(vae, pictures))
    return pack((z - vae.config.shift_factor) * vae.config.scaling_factor)


def load_vae(run: Path, pictures: np.ndarray) -> AutoencoderKL:
    """The averaged VAE of a run, normalised."""
    vae = build_vae()
    vae.load_state_dict(torch.load(run / "last.pt", weights_only=True)["average"])
    return normalised(vae.eval(), pictures)


def varied(data: Objects, seed: int) -> list[str]:
    """The captions, half of those that can be said from the other part said so."""
    rng = np.random.default_rng(seed)
    captions = []
    for text, kind, color in zip(data.captions, data.kinds, data.colors, strict=True):
        other = turned_round(text, KIND_NAMES[kind], COLOR_NAMES[color])
        captions.append(other if other is not None and rng.random() < 0.5 else text)
    return captions


def tokens_of(captions: list[str]) -> tuple[Tensor, Tensor]:
    """CLIP and T5 ids [N,MAX_LENGTH] as FluxPipeline makes them."""
    lower = [text.lower() for text in captions]
    options = {"padding": "max_length", "max_length": MAX_LENGTH, "truncation": True}
    clip = clip_tokenizer()(lower, return_tensors="pt", **options).input_ids
    t5 = t5_tokenizer()(lower, return_tensors="pt", **options).input_ids
    return clip, t5


def export(flow: Flow, vae: AutoencoderKL, folder: Path) -> None:
    """Write a FluxPipeline folder in half precision."""
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False),
        vae=vae,
        text_encoder=flow.text_encoder,
        tokenizer=clip_tokenizer(),
        text_encoder_2=flow.text_encoder_2,
        tokenizer_2=t5_tokenizer(),
        transformer=flow.transformer,
    )
    pipe.to(torch.float16).save_pretrained(folder)


def flow_loss(
    flow: Flow, x0: Tensor, tokens: tuple[Tensor, Tensor], generator: torch.Generator, bf16: bool
) -> Tensor:
    """Mean squared error of the velocity at times half of which the sampler visits.

    Args:
        flow: what is trained.
        x0: [B,16,64] packed latents.
        tokens: CLIP and T5 ids [B,MAX_LENGTH].
        generator: of noise and times.
        bf16: whether to compute in bfloat16.
    """
    b = len(x0)
    noise = torch.randn(x0.shape, generator=generator)
    t = torch.rand(b, generator=generator)
    visited = torch.tensor(VISITED)
    t[: b // 2] = visited[torch.randint(0, len(visited), (b // 2,), generator=generator)]
    xt = torch.lerp(x0, noise, t[:, None, None])
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        velocity = flow(xt, t, *tokens)
    gap: Tensor = velocity.float() - (noise - x0)
    return gap.square().mean()


def train(options: argparse.Namespace) -> None:
    """Train until the run's own time is up; the decay follows that clock."""
    torch.manual_seed(options.seed)
    flow = Flow()
    flow.initialise()
    optimizer = torch.optim.AdamW(flow.parameters(), lr=options.rate, weight_decay=0.01)
    loop = Loop(options.run, flow, optimizer, options.minutes, keep_every=500)
    data = load(options.data, skip=2)
    pictures = paint_all(data, options.seed)
    latents = latents_of(load_vae(options.vae_run, pictures), pictures)
    clip_ids, t5_ids = tokens_of(varied(data, options.seed))
    generator = torch.Generator().manual_seed(options.seed + loop.step)
    for _ in loop:
        rows = torch.randint(0, len(latents), (options.batch,), generator=generator)
        loss = flow_loss(
            flow, latents[rows], (clip_ids[rows], t5_ids[rows]), generator, options.bf16
        )
        loop.descend(loss)
        loop.log(25, loss=loss)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("vae_run", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    train(parser.parse_args())


if __name__ == "__main__":
    main()

"""Pictures as the stages before the small TripoSR hand them over, for objects whose shape is known.

``python -m miner.mini.training.repaint DATA OUT.npz --count 3000`` takes true pictures half way to
noise and lets the small FLUX finish them, which keeps the object and adds the painter's habits;
then come the preset's own background removal and framing. ``triposr --repainted`` mixes them in.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FluxPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from miner.errors import StageError
from miner.gpu.device import choose_device
from miner.pipeline.background import BackgroundRemover, frame
from miner.settings import BackgroundSettings

from .dataset import SIZE, load
from .export import WEIGHTS
from .flow import latents_of, tokens_of
from .pictures import paint_all

SIGMAS = (0.5, 0.25, 0.0)
"""From half noise in two steps: more noise and the painter would choose another shape."""


@torch.no_grad()
def repainted(
    pipe: FluxPipeline, pictures: NDArray[np.uint8], captions: list[str], seed: int
) -> NDArray[np.uint8]:
    """Pictures [B,64,64,3] taken half way to noise and finished by the flow."""
    generator = torch.Generator().manual_seed(seed)
    x0 = latents_of(pipe.vae, pictures)
    noise = torch.randn(x0.shape, generator=generator)
    x = torch.lerp(x0, noise, SIGMAS[0])
    clip_ids, t5_ids = tokens_of(captions)
    pooled = pipe.text_encoder(clip_ids).pooler_output
    words = pipe.text_encoder_2(t5_ids)[0]
    img_ids = FluxPipeline._prepare_latent_image_ids(1, 4, 4, torch.device("cpu"), torch.float32)
    for sigma, following in pairwise(SIGMAS):
        velocity = pipe.transformer(
            hidden_states=x,
            timestep=torch.full((len(x),), sigma),
            encoder_hidden_states=words,
            pooled_projections=pooled,
            img_ids=img_ids,
            txt_ids=torch.zeros(words.shape[1], 3),
            return_dict=False,
        )[0]
        x = x + (following - sigma) * velocity
    return _decoded(pipe, x)


def _decoded(pipe: FluxPipeline, x: Tensor) -> NDArray[np.uint8]:
    z = FluxPipeline._unpack_latents(x, SIZE, SIZE, 8)
    z = z / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
    y = pipe.vae.decode(z).sample.clamp(-1, 1)
    return np.asarray(((y + 1) * 127.5).round().permute(0, 2, 3, 1).numpy(), np.uint8)


def prepared(remover: BackgroundRemover, picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The picture [64,64,3] cut out and framed as TripoSR gets it; None if nothing was found."""
    try:
        cutout = remover.cut_out(Image.fromarray(picture))
    except StageError:
        return None
    framed = torch.from_numpy(frame(cutout, 0.85)).permute(2, 0, 1)[None]
    resized = F.interpolate(framed, (SIZE, SIZE), mode="bilinear", antialias=True)
    return np.asarray((resized[0].permute(1, 2, 0) * 255).round().numpy(), np.uint8)


def main() -> None:
    """Repaint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    data = load(o.data, skip=2)
    rng = np.random.default_rng(o.seed)
    chosen = rng.permutation(len(data.rgba))[: o.count]
    pipe = FluxPipeline.from_pretrained(WEIGHTS / "flux", dtype=torch.float32)
    settings = BackgroundSettings(weights="mini/matting.onnx", model="u2net_custom")
    remover = BackgroundRemover.load(WEIGHTS / "matting.onnx", settings, choose_device("cpu"))
    pictures = paint_all(data, o.seed + 7)
    rows, out = [], []
    for chunk in np.array_split(chosen, max(1, len(chosen) // 32)):
        captions = [data.captions[i] for i in chunk]
        for row, picture in zip(
            chunk, repainted(pipe, pictures[chunk], captions, int(chunk[0])), strict=True
        ):
            rgb = prepared(remover, picture)
            if rgb is not None:
                rows.append(row)
                out.append(rgb)
    np.savez(o.out, rows=np.array(rows), rgb=np.stack(out))
    print(f"{len(rows)} of {len(chosen)} pictures")


if __name__ == "__main__":
    main()

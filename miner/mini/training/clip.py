"""Trains the small CLIP: whether the views of a splat show what a prompt asks for.

``python -m miner.mini.training.clip DATA VIEWS RUN --minutes 20``. Contrastive over pictures and
captions; each picture also against two captions that are nearly right: its kind in another colour,
and another kind in its colour. Captions of held-out pairs are never said, not even as wrong ones.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPModel

from miner.triposr.image_tokens import IMAGENET_MEAN, IMAGENET_STD

from .dataset import Objects, load
from .flow import varied
from .judge import degraded
from .loop import Loop
from .pictures import paint_all
from .tokenizers import MAX_LENGTH, clip_tokenizer
from .views import VIEWS, Views
from .views import load as load_views
from .warm_start import warm_start
from .world.captions import compose, phrase
from .world.draw import held_out
from .world.kinds import NAMES as KINDS
from .world.palette import NAMES as COLORS

SKIP = 2
"""Shards kept for looking at what was learnt."""

PAINTED = 0.3
"""Share of front pictures on the painter's background among the pictures; the others are views."""

SPLAT_WEIGHT = 4.0
"""How much more often a splat is looked at than an object."""

PAIRS = np.array([[not held_out(kind, color) for color in COLORS] for kind in KINDS])
"""[kinds, colours] whether training may speak of the pair."""


class Examples:
    """Pictures with what they show.

    Attributes:
        kinds, colors: [N] of all objects, those of the painter's pictures first.
        captions: N texts.
    """

    def __init__(self, data: Objects, views: Views, seed: int) -> None:
        self._fronts = paint_all(data, seed)
        self._views = views
        splats = np.where(views.splats, SPLAT_WEIGHT, 1.0)
        self._share = splats / splats.sum()
        self.kinds = np.concatenate([data.kinds, views.kinds]).astype(np.int64)
        self.colors = np.concatenate([data.colors, views.colors]).astype(np.int64)
        self.captions = varied(data, seed) + views.captions

    def pick(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Tensor]:
        """Rows [B] and their pictures [B,3,64,64] in [0,1]."""
        painted = int(count * PAINTED)
        fronts = rng.integers(0, len(self._fronts), painted)
        around = rng.choice(len(self._views.kinds), count - painted, p=self._share)
        pictures = [self._fronts[row].astype(np.float32) for row in fronts]
        pictures += [self._view(row, rng) for row in around]
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
        if rng.random() < 0.5:
            x = x.flip(3)
        rows = np.concatenate([fronts, around + len(self._fronts)])
        return rows, degraded(x * 2 - 1).clamp(-1, 1) / 2 + 0.5

    def _view(self, row: int, rng: np.random.Generator) -> NDArray[np.float32]:
        rgba = self._views.rgba[row, rng.integers(VIEWS)].astype(np.float32)
        behind = 255.0 if rng.random() < 0.75 else rng.uniform(0, 255, 3).astype(np.float32)
        return np.asarray(rgba[..., :3] + behind * (1 - rgba[..., 3:] / 255), np.float32)


def say(kind: int, color: int, rng: np.random.Generator) -> str:
    """One of the many ways to ask for a pair."""
    if rng.random() < 0.5:
        return phrase(KINDS[kind], COLORS[color], int(rng.integers(1 << 20)))
    return compose(KINDS[kind], COLORS[color], "", rng).text


def other(choices: NDArray[np.bool_], but: int, rng: np.random.Generator) -> int:
    """A random index that is allowed, other than one."""
    allowed = np.flatnonzero(choices)
    return int(rng.choice(allowed[allowed != but]))


def sayings(
    examples: Examples, rows: NDArray[np.int64], rng: np.random.Generator
) -> tuple[list[str], NDArray[np.int64]]:
    """Texts [3B], first the right ones, then the two wrong ones, and their pairs [3B]."""
    texts: list[list[str]] = [[], [], []]
    pairs: list[list[int]] = [[], [], []]
    for row in rows:
        kind, color = int(examples.kinds[row]), int(examples.colors[row])
        right = examples.captions[row] if rng.random() < 0.5 else say(kind, color, rng)
        wrong_color = other(PAIRS[kind], color, rng)
        wrong_kind = other(PAIRS[:, color], kind, rng)
        asked = ((kind, color), (kind, wrong_color), (wrong_kind, color))
        for i, (k, c) in enumerate(asked):
            texts[i].append(say(k, c, rng) if i else right)
            pairs[i].append(k * len(COLORS) + c)
    return [*chain(*texts)], np.array([*chain(*pairs)])


def normalised(pictures: Tensor) -> Tensor:
    """Pictures [B,3,64,64] in [0,1] as the model takes them."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (pictures - mean) / std


def features(model: CLIPModel, pictures: Tensor, texts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Unit vectors of pictures and of texts."""
    output = model(pixel_values=normalised(pictures), **texts)
    return output.image_embeds, output.text_embeds


def contrast(
    pictures: Tensor, texts: Tensor, pairs: NDArray[np.int64], scale: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss both ways, and the share of pictures whose own text comes first.

    Texts of the same pair as a picture's own are neither right nor wrong: left out.
    """
    count = len(pictures)
    logits = scale.exp().clamp(max=100) * pictures @ texts.T
    same = torch.from_numpy(pairs[:count, None] == pairs[None])
    same[torch.arange(count), torch.arange(count)] = False
    logits = logits.masked_fill(same, -1e4)
    target = torch.arange(count)
    loss = F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :count].T, target)
    return loss / 2, (logits.argmax(1) == target).float().mean()


def freeze(model: CLIPModel, layers: int) -> None:
    """Leaves the lowest layers of the picture half as they came: they see edges and colours."""
    vision = model.vision_model
    for module in (vision.embeddings, vision.pre_layrnorm, *vision.encoder.layers[:layers]):
        module.requires_grad_(False)


def train(options: argparse.Namespace) -> None:
    """Train until the run's own time is up."""
    torch.manual_seed(options.seed)
    model, tokenizer = warm_start(), clip_tokenizer()
    freeze(model, options.frozen)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.rate, weight_decay=0.05)
    loop = Loop(options.run, model, optimizer, options.minutes, keep_every=100)
    rng = np.random.default_rng([options.seed, loop.step])
    data = load(options.data, skip=SKIP)
    examples = Examples(data, load_views(options.views), options.seed)
    print(f"{len(examples.captions)} objects", flush=True)
    for _ in loop:
        rows, pictures = examples.pick(options.batch, rng)
        said, pairs = sayings(examples, rows, rng)
        lower = [text.lower() for text in said]
        tokens = tokenizer(
            lower, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
        )
        seen, told = features(model, pictures, dict(tokens))
        loss, first = contrast(seen, told, pairs, model.logit_scale)
        loop.descend(loss)
        loop.log(20, loss=loss, first=first, scale=model.logit_scale.exp())


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("views", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frozen", type=int, default=2)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()

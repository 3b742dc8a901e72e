"""A classifier of kind and colour, trained on true pictures only; it judges what the FLUX paints.

``python -m miner.mini.training.judge DATA OUT.safetensors --minutes 5``. It never sees a picture
that a network made, so that it cannot learn to forgive one.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .averaging import Average, learning_rate
from .dataset import load
from .pictures import paint_all
from .world.kinds import NAMES as KIND_NAMES
from .world.palette import NAMES as COLOR_NAMES


class Judge(nn.Module):
    """Pictures [B,3,64,64] in [-1,1] to logits of kinds and of colours."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [
                nn.Conv2d(inside, outside, 3, 2, 1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(),
            ]
            layers += [
                nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.kind = nn.Linear(128 * 16, len(KIND_NAMES))
        self.color = nn.Linear(128 * 16, len(COLOR_NAMES))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both logits."""
        h = self.body(x).flatten(1)
        return self.kind(h), self.color(h)


def judge_pictures(judge: Judge, pictures: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Indices of kind and colour [N] of pictures [N,64,64,3] uint8."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        kind, color = judge(x)
    return kind.argmax(1), color.argmax(1)


def load_judge(path: Path) -> Judge:
    """A trained judge."""
    judge = Judge()
    judge.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    )
    return judge.eval()


def degraded(x: Tensor) -> Tensor:
    """Pictures [B,3,64,64] in [-1,1] shifted, softened and with noise."""
    shift = torch.randint(-4, 5, (2,)).tolist()
    x = torch.roll(x, shift, (2, 3))
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, torch.rand(len(x), 1, 1, 1))
    return x + torch.randn_like(x) * 0.08 * torch.rand(len(x), 1, 1, 1)


def train(data_folder: Path, path: Path, minutes: float, seed: int) -> None:
    """Train, print the score on new draws, and write the averaged weights."""
    torch.manual_seed(seed)
    data = load(data_folder, limit=42)
    pictures = torch.from_numpy(paint_all(data, seed + 1))
    kinds, colors = torch.from_numpy(data.kinds).long(), torch.from_numpy(data.colors).long()
    judge = Judge()
    average = Average(judge, 0.995)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-3)
    step, start = 0, time.monotonic()
    while (progress := (time.monotonic() - start) / (minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * learning_rate(step, progress)
        rows = torch.randint(500, len(pictures), (48,))
        x = pictures[rows].permute(0, 3, 1, 2).float() / 127.5 - 1
        kind, color = judge(degraded(x))
        loss = F.cross_entropy(kind, kinds[rows]) + F.cross_entropy(color, colors[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update(judge, step)
        step += 1
    judge = average.module.eval()  # type: ignore[assignment]
    kind, color = judge_pictures(judge, pictures[:500].numpy())
    print(
        f"{step} steps; new draws: kind {(kind == kinds[:500]).float().mean():.4f}, "
        f"colour {(color == colors[:500]).float().mean():.4f}"
    )
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}, path
    )


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    train(o.data, o.out, o.minutes, o.seed)


if __name__ == "__main__":
    main()

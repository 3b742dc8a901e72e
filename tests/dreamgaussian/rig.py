"""Small clouds, pictures and guidances for the tests of the fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from miner.dreamgaussian.guidance import Subject
from miner.dreamgaussian.params import Cloud, Training, begin
from miner.dreamgaussian.poses import Pose
from miner.dreamgaussian.settings import FitSettings
from miner.gpu.device import choose_device

CPU = choose_device("cpu")


def cloud(count: int = 40, seed: int = 0, dtype: torch.dtype = torch.float64) -> Cloud:
    """Gaussians of all sizes and opacities within the unit ball, in front of no camera."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return Cloud(
        draw(count, 3) * 0.4,
        draw(count, 3) * 0.6 - 2.5,
        draw(count, 4),
        draw(count),
        draw(count, 3),
    )


def trained(count: int = 40, seed: int = 0) -> Training:
    """A training whose moments tell its rows apart."""
    start = begin(cloud(count, seed))
    return Training(
        start.cloud, cloud(count, seed + 1), cloud(count, seed + 2).map(torch.square), 3
    )


def ball_picture(side: int = 48) -> Image.Image:
    """A red ball, its coverage as alpha."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = (200, 30, 30)
    rgba[..., 3] = 255 * (np.hypot(x, y) < 0.7)
    return Image.fromarray(rgba, "RGBA")


class Wanted:
    """A guidance that wants every view to be of one colour, and remembers what it was asked."""

    wants_image = True
    group = 1

    def __init__(self, color: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> None:
        self._color = torch.tensor(color)
        self.network = nn.Linear(1, 1)
        self.subjects: list[Subject] = []
        self.progress: list[float] = []
        self.sizes: list[int] = []

    def networks(self) -> Sequence[nn.Module]:
        return [self.network]

    def prepare(self, subject: Subject, seed: int) -> None:
        self.subjects.append(subject)

    def loss(
        self, views: Tensor, poses: Sequence[Pose], progress: float, generator: torch.Generator
    ) -> Tensor:
        assert len(views) == len(poses)
        self.progress.append(progress)
        self.sizes.append(views.shape[1])
        return 100.0 * (views - self._color).square().mean()


class Reader(Wanted):
    """The same, for prompts and in groups of four views."""

    wants_image = False
    group = 4


def settings(**changes: object) -> FitSettings:
    """A fit of a few quick iterations."""
    values: dict[str, object] = {
        "name": "test",
        "iters": 6,
        "min_iters": 2,
        "guidance": {"weights": "mini/zero123", "size_px": 32},
        "start": {"num_pts": 300, "opacity": 0.5},
        "views": {"sizes_px": [16, 24], "size_from": [0.0, 0.5], "reference_size_px": 24},
        "density": {"density_start_iter": 0, "densification_interval": 2},
    }
    return FitSettings.model_validate(values | changes)


class SteppingClock:
    """Goes on by a fixed time whenever it is read."""

    def __init__(self, step_seconds: float) -> None:
        self.now = 100.0
        self._step = step_seconds

    def __call__(self) -> float:
        self.now += self._step
        return self.now

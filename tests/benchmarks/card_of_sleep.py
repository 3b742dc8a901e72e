"""An engine whose card is played by a sleep; the surface, the gate and the encoding are real.

Also read by the code at an earlier commit, so it uses only what both have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from miner.geometry.gaussians import Gaussians
from miner.gpu.device import choose_device
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.reconstruct import Reconstructor
from miner.settings import SurfaceKeys
from miner.triposr.surface import SurfaceReport, field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings
from miner.workers.engine import Configuration, PipelineEngine

SECONDS = "BENCH_OVERLAP_SECONDS"
"""In the environment: what all stages of the card take together."""

PAINTING = 0.7
"""Of them; the rest is TripoSR's."""


class Ball:
    """A ball's field, as good as free: on a card the questions to the field are not the CPU's."""

    radius = 0.87
    device = torch.device("cpu")

    def density(self, xyz: Tensor) -> Tensor:
        distance = xyz.norm(dim=-1, keepdim=True) / self.radius - 2 / 3
        return 25 * torch.exp((-20 * distance).clamp(max=5))

    def query(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(xyz), torch.full((len(xyz), 3), 0.5)


class Painter:
    """Sleeps, and gives a grey square."""

    def paint(self, prompts: Sequence[str], *_: Any, **__: Any) -> list[Image.Image]:
        time.sleep(PAINTING * float(os.environ[SECONDS]))
        return [Image.new("RGB", (512, 512), (128, 128, 128)) for _ in prompts]

    def homes(self) -> Iterable[Any]:
        return ()


class Remover:
    """Knows where the object is."""

    def cut_out(self, picture: Image.Image, on_cpu: bool = False) -> Image.Image:
        cutout = picture.convert("RGBA")
        alpha = Image.new("L", picture.size)
        alpha.paste(255, (100, 100, 400, 400))
        cutout.putalpha(alpha)
        return cutout

    def park(self) -> None:
        pass

    def wake(self) -> None:
        pass


class Model(Reconstructor):
    """Sleeps, and makes the surface of a ball."""

    def __init__(self) -> None:
        self.device = choose_device("cpu")

    def encode(self, picture: NDArray[np.float32]) -> Tensor:
        time.sleep((1 - PAINTING) * float(os.environ[SECONDS]))
        return torch.zeros(3, 1, 1, 1)

    def to_gaussians(
        self, codes: Tensor, keys: SurfaceKeys, seed: int, chunk: int | None = None
    ) -> tuple[Gaussians, SurfaceReport]:
        return field_to_gaussians(Ball(), SurfaceSettings(**keys.model_dump()), seed)


class SleepingCard(PipelineEngine):
    """The pipeline of the service with these in place of the networks."""

    def load(self, configuration: Mapping[str, Any]) -> Mapping[str, float]:
        wanted = Configuration.model_validate(configuration)
        preset = wanted.preset.model_copy(update={"surface": SurfaceKeys()})
        device = choose_device("cpu")
        self._pipeline = Pipeline(preset, device, Painter(), Remover(), Model())  # type: ignore[arg-type]
        self._overlap = getattr(wanted, "overlap", "off")
        self.generators = self._pipeline.generators.names
        self.device = device.name
        return {"model": 0.0}

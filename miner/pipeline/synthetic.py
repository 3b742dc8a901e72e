"""Full-size models with random weights: real shapes, times and memory, without a download.

The parts are built on the device itself, so that no copy is made on the way. Random weights show no
object: the surface is therefore taken at a density that the field is made to have.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from miner.errors import DeviceError
from miner.gpu.device import Device, choose_device
from miner.pipeline import reconstruct, text_to_image
from miner.pipeline.reconstruct import Reconstructor
from miner.pipeline.stage import CancelFlag, Timings, stage
from miner.pipeline.text_to_image import TextToImage
from miner.settings import Settings
from miner.triposr import TripoSR
from miner.triposr.config import TripoSRConfig
from miner.triposr.field import Field
from miner.triposr.surface import field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings

TRIPOSR_BYTES = 4_000_000_000
"""Weights in float32 and the working set."""
FLUX_BYTES = 38_000_000_000
"""Weights in bfloat16 and the working set of a batch of one."""
PROMPT = "a red cube"


@dataclass
class Outcome:
    """Seconds of each warm run and peak memory, by stage."""

    model: str
    device: Device
    build_seconds: float
    parameters: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """A table for a person; peak memory is the GPU's by stage, or the process's so far."""
        yield (
            f"{self.model}: {self.parameters / 1e6:,.1f} M parameters on {self.device.name}, "
            f"built in {self.build_seconds:.1f} s"
        )
        yield f"{'stage':<16}{'median s':>10}{'best s':>10}{'peak GB':>10}"
        for name, seconds in self.seconds.items():
            peak = f"{self.peak_bytes[name] / 1e9:.2f}"
            yield f"{name:<16}{statistics.median(seconds):>10.3f}{min(seconds):>10.3f}{peak:>10}"

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Times the block as a run of the stage."""
        self.device.reset_peak()
        timings: Timings = {}
        with stage(name, self.device, timings, CancelFlag()):
            yield
        self.seconds.setdefault(name, []).append(timings[name])
        self.peak_bytes[name] = max(self.device.peak_bytes(), self.peak_bytes.get(name, 0))

    def forget(self) -> None:
        """Drops the times so far, which were the warm-up's."""
        self.seconds.clear()


def bench_triposr(settings: Settings, runs: int) -> Outcome:
    """A picture of 512 px to scene codes, and a field of that cost to Gaussians.

    Raises:
        DeviceError: not enough memory.
    """
    device = _roomy_device(settings, "triposr", TRIPOSR_BYTES)
    start = time.perf_counter()
    with torch.device(device.torch_device):
        model = TripoSR(TripoSRConfig()).eval()
    outcome = Outcome(
        "triposr",
        device,
        time.perf_counter() - start,
        sum(parameter.numel() for parameter in model.parameters()),
    )
    reconstructor = Reconstructor(model, device)
    side = model.config.cond_image_size
    picture = np.random.default_rng(0).random((side, side, 3), np.float32)
    for run in range(runs + (1 if device.is_cuda else 0)):  # the CPU needs no warm-up
        if run == 1 and device.is_cuda:
            outcome.forget()
        with outcome.measured(reconstruct.STAGE):
            codes = reconstructor.encode(picture)
        with outcome.measured(reconstruct.SURFACE_STAGE):
            field_to_gaussians(BallOfCost(model.field(codes)), SurfaceSettings(), seed=0)
    return outcome


def bench_flux(settings: Settings, runs: int) -> Outcome:
    """One prompt to a picture, with the preset's steps and size.

    Raises:
        DeviceError: not enough memory.
    """
    device = _roomy_device(settings, "flux-schnell", FLUX_BYTES)
    start = time.perf_counter()
    painter = TextToImage.synthetic(settings.preset.text_to_image, device)
    outcome = Outcome("flux-schnell", device, time.perf_counter() - start, painter.parameters)
    for run in range(runs + 1):
        if run == 1:
            outcome.forget()
        with outcome.measured(text_to_image.STAGE):
            painter.paint([PROMPT], [run])
    return outcome


class BallOfCost:
    """A ball, at the cost of another field: each question is put to that one too.

    Random weights hold no surface, or one in every cell; a ball has the area of a usual object.
    """

    def __init__(self, costly: Field) -> None:
        self._costly = costly

    @property
    def radius(self) -> float:
        """Half the side of the cube."""
        return self._costly.radius

    @property
    def device(self) -> torch.device:
        """Where points are expected."""
        return self._costly.device

    def density(self, xyz: Tensor) -> Tensor:
        """[N,1], 25 at two thirds of the radius and falling outwards."""
        return self._ball(xyz) + 0 * self._costly.density(xyz)

    def query(self, xyz: Tensor) -> tuple[Tensor, Tensor]:
        """The ball's density [N,1] with the other field's colour [N,3]."""
        density, color = self._costly.query(xyz)
        return self._ball(xyz) + 0 * density, color

    def _ball(self, xyz: Tensor) -> Tensor:
        distance = xyz.norm(dim=-1, keepdim=True) / self.radius - 2 / 3
        return 25 * torch.exp((-20 * distance).clamp(max=5))


def _roomy_device(settings: Settings, model: str, wanted: int) -> Device:
    device = choose_device(settings.device)
    available = device.available_bytes()
    if available < wanted:
        raise DeviceError(
            f"{model} at full size needs about {wanted / 1e9:.0f} GB; "
            f"{device.name} has {available / 1e9:.0f} GB free"
        )
    return device

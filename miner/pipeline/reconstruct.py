"""Third and fourth stages: a framed picture becomes a field, and the field becomes Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.errors import BadOutput
from miner.geometry.gaussians import Gaussians
from miner.gpu.device import Device
from miner.gpu.fp32_math import Fp32Math, fp32_math
from miner.settings import ReconstructSettings, SurfaceKeys
from miner.triposr import TripoSR
from miner.triposr.surface import SurfaceReport, field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings

STAGE = "reconstruct"
SURFACE_STAGE = "surface"


class Reconstructor:
    """A loaded TripoSR.

    Args:
        model: on the device.
        device: where it works.
        matmul: how ``encode`` computes in float32 on CUDA; other number types are not changed.
    """

    def __init__(self, model: TripoSR, device: Device, matmul: Fp32Math = "full") -> None:
        self.model = model
        self.device = device
        self._matmul = matmul

    @classmethod
    def load(cls, folder: Path, settings: ReconstructSettings, device: Device) -> Reconstructor:
        """The model in ``folder``, in the layout of the published one.

        Raises:
            WeightsError: the folder holds no such model.
        """
        dtype = device.dtype(settings.dtype, auto_on_cuda=torch.float32)
        model = TripoSR.load(folder, device=device.torch_device, dtype=dtype)
        return cls(model, device, settings.matmul)

    @torch.no_grad()
    def encode(self, picture: NDArray[np.float32]) -> Tensor:
        """Scene codes [3,C,R,R] of a framed picture [S,S,3] in [0,1].

        Raises:
            BadOutput: the codes are not finite.
        """
        rgb = torch.from_numpy(picture)[None].to(self.device.torch_device)
        with fp32_math(self._matmul, self.device):
            codes: Tensor = self.model.encode(rgb)[0]
        if not torch.isfinite(codes).all():
            raise BadOutput(STAGE, "the scene codes hold numbers that are not finite")
        return codes

    def to_gaussians(
        self, codes: Tensor, keys: SurfaceKeys, seed: int, chunk: int | None = None
    ) -> tuple[Gaussians, SurfaceReport]:
        """The surface of the field as Gaussians, in the scene frame, with what it took.

        With a ``chunk`` so many points of the field are asked at a time, at most.

        Raises:
            BadOutput: the field has no surface.
        """
        settings = SurfaceSettings(**keys.model_dump())
        return field_to_gaussians(self.model.field(codes, chunk), settings, seed)

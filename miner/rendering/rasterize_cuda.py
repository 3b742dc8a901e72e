"""The rasteriser of gsplat (Apache-2.0), an optional extra, behind the interface of ours.

gsplat compiles its kernels on first use where its wheel holds none, which takes minutes: do it when
the program is installed, not during a job.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging

import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.rendering.projection import LOW_PASS_PX2, NEAR

_log = logging.getLogger(__name__)


@functools.cache
def available() -> bool:
    """Whether there is a CUDA device and a gsplat whose kernels load or compile; asked once."""
    if not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None:
        return False
    try:
        return importlib.import_module("gsplat.cuda._backend")._C is not None
    except (ImportError, OSError, RuntimeError) as error:  # what a failed build raises
        _log.warning("gsplat cannot be used, plain torch rasterises instead: %s", error)
        return False


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    camera: Camera,
) -> tuple[Tensor, Tensor]:
    """As ``rasterize.rasterize_torch``, on CUDA tensors, float32; call only if ``available()``."""
    gsplat = importlib.import_module("gsplat")
    image, alpha, _ = gsplat.rasterization(
        means=means,
        quats=quats,
        scales=scales,
        opacities=opacities,
        colors=colors,
        viewmats=camera.world_to_cam.to(means)[None],
        Ks=camera.K.to(means)[None],
        width=camera.width,
        height=camera.height,
        near_plane=NEAR,
        eps2d=LOW_PASS_PX2,
        rasterize_mode="classic",
        packed=False,
    )
    return image[0], alpha[0]

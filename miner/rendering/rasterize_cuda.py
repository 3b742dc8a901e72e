"""The rasteriser of gsplat (Apache-2.0), an optional extra, behind the interface of ours.

Kernels are loaded here and never compiled: ``gsplat_build`` says where they come from.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging

import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.rendering import gsplat_build
from miner.rendering.projection import LOW_PASS_PX2, NEAR

_log = logging.getLogger(__name__)


@functools.cache
def available() -> bool:
    """Whether there is a CUDA device and a gsplat whose built kernels load; asked once."""
    if not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None:
        return False
    major, minor = torch.cuda.get_device_capability()
    return loads(gsplat_build.kernels(), f"{major}.{minor}")


def loads(kernels: gsplat_build.Kernels, architecture: str = "") -> bool:
    """Whether gsplat can be used with these kernels on this card; a warning says why not."""
    try:
        gsplat_build.load(kernels, architecture)
        return importlib.import_module("gsplat.cuda._backend")._C is not None
    except Exception as error:  # a library of other versions raises anything from TypeError on
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        _log.warning("plain torch rasterises, which is slower than gsplat: %s", reason)
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

"""Gaussians to pictures: one door, three rooms.

``rasterize`` takes activated tensors and is differentiable; where CUDA and gsplat are at hand
gsplat does the work, otherwise plain torch does: the fragment list when a gradient is wanted, the
tiles when not. ``render`` takes the ``Gaussians`` value as the codecs and generators hand it about.
"""

from __future__ import annotations

import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.geometry.gaussians import Gaussians
from miner.geometry.harmonics import sh_to_rgb
from miner.rendering import fragments, rasterize_cuda, tiles
from miner.rendering.backgrounds import background_color
from miner.rendering.projection import project


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    camera: Camera,
    background: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Picture of N Gaussians, differentiable in every tensor.

    The rules are those of gsplat's classic mode: 0.3 px^2 low-pass, alpha below 1/255 dropped and
    above 0.999 cut, near plane 0.01, a pixel finished at 1e-4 of the light.

    Args:
        means: [N,3] centres in the scene frame.
        quats: [N,4] ``wxyz``, need not be normalised.
        scales: [N,3] standard deviations in scene units, > 0.
        opacities: [N] in [0,1].
        colors: [N,C] colours as this camera sees them.
        camera: where from, and the size of the picture.
        background: [C] colour behind everything; black if None.

    Returns:
        image [H,W,C] over the background, not clipped, and alpha [H,W,1]; dtype and device as
        ``means``.
    """
    tensors = (means, quats, scales, opacities, colors)
    if means.is_cuda and rasterize_cuda.available():
        image, alpha = rasterize_cuda.rasterize(*tensors, camera)
    else:
        image, alpha = rasterize_torch(*tensors, camera)
    if background is None:
        return image, alpha
    return image + (1.0 - alpha) * background, alpha


def rasterize_torch(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    camera: Camera,
) -> tuple[Tensor, Tensor]:
    """As ``rasterize`` over black, always in plain torch, on any device."""
    tensors = (means, quats, scales, opacities, colors)
    footprints = project(*tensors, camera)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return fragments.blend(footprints, camera.width, camera.height)
    return tiles.blend(footprints, camera.width, camera.height)


@torch.no_grad()
def render(
    gaussians: Gaussians,
    camera: Camera,
    background: str = "white",
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Picture of a splat, with its harmonics seen from the camera.

    Args:
        gaussians: in the scene frame; none at all gives an empty picture.
        camera: where from.
        background: a colour's name or ``#rrggbb``.
        device: where to work.

    Returns:
        image [H,W,3] float32 in [0,1] and alpha [H,W,1] float32 in [0,1), on ``device``.

    Raises:
        BadOption: no such background.
    """
    behind = torch.tensor(background_color(background), device=device)
    fields = (
        gaussians.means,
        gaussians.quats,
        gaussians.log_scales,
        gaussians.opacity_logits,
        gaussians.sh_dc,
        gaussians.sh_rest,
    )
    means, quats, log_scales, logits, sh_dc, sh_rest = (
        torch.as_tensor(field, device=device) for field in fields
    )
    colors = sh_to_rgb(sh_dc, sh_rest, means - camera.position.to(means))
    image, alpha = rasterize(
        means, quats, log_scales.exp(), logits.sigmoid(), colors, camera, behind
    )
    return image.clamp(0.0, 1.0), alpha

"""Gaussians in the scene become elliptic footprints on the picture, sorted front to back.

The splatting of Zwicker et al. ("EWA Volume Splatting", 2001) as 3D Gaussian Splatting uses it
(Kerbl et al., 2023, section 4), with the constants of gsplat's classic mode, so that a picture made
here and one made there agree. Everything is differentiable; what is culled gets a gradient of zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.geometry.rotations import quat_to_matrix

NEAR = 0.01
"""Depth in scene units below which a Gaussian is dropped."""

LOW_PASS_PX2 = 0.3
"""Added to both variances on the picture, so that no footprint falls between the pixels."""

MIN_ALPHA = 1.0 / 255.0
"""A Gaussian contributes to a pixel only from this alpha upwards."""

FRUSTUM_MARGIN = 0.3
"""The Jacobian is taken at most this far outside the picture (in half pictures): the linearisation
blows up for Gaussians far to the side of the camera."""


@dataclass(frozen=True, eq=False)
class Footprints:
    """M visible Gaussians on the picture, nearest first.

    Attributes:
        means2d: [M,2] centres in pixels (x right, y down; pixel centres at .5).
        conics: [M,3] inverse covariance in 1/px^2, as (xx, xy, yy).
        opacities: [M] in [1/255, 1].
        colors: [M,C] whatever is to be blended.
        extents: [M,2] half sides in pixels of the box outside which alpha < 1/255; no gradient.
        order: [M] int64, the index of each among the N given.
    """

    means2d: Tensor
    conics: Tensor
    opacities: Tensor
    colors: Tensor
    extents: Tensor
    order: Tensor

    def __len__(self) -> int:
        return len(self.order)

    @property
    def cutoffs(self) -> Tensor:
        """[M] squared Mahalanobis radius at which alpha falls to 1/255; no gradient."""
        return 2.0 * torch.log(self.opacities.detach() / MIN_ALPHA)


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    camera: Camera,
) -> Footprints:
    """Footprints of all Gaussians that can touch a pixel of the camera's picture.

    Args:
        means: [N,3] centres in the scene frame.
        quats: [N,4] ``wxyz``, need not be normalised.
        scales: [N,3] standard deviations along the own axes.
        opacities: [N] in [0,1].
        colors: [N,C].
        camera: where from; its matrices take on the dtype and device of ``means``.
    """
    world_to_cam = camera.world_to_cam.to(means)
    rotation, translation = world_to_cam[:3, :3], world_to_cam[:3, 3]
    # Depth is culled before anything divides by it: an infinity there, even multiplied by a
    # gradient of zero, would turn the gradients into NaN.
    with torch.no_grad():
        depth = means @ rotation[2] + translation[2]
        front = torch.nonzero((depth > NEAR) & (opacities >= MIN_ALPHA)).squeeze(1)
        front = front[torch.argsort(depth[front], stable=True)]
    points = means[front] @ rotation.T + translation
    means2d = points[:, :2] / points[:, 2:] * camera.focal_px
    means2d = means2d + means2d.new_tensor([0.5 * camera.width, 0.5 * camera.height])
    axes = quat_to_matrix(quats[front]) * scales[front].unsqueeze(1)
    factors = _jacobians(points, camera) @ rotation @ axes
    covariances = _covariances(factors)
    opacities = opacities[front]
    extents = _extents(covariances.detach(), opacities.detach())
    on_picture = _on_picture(means2d.detach(), extents, camera)
    return Footprints(
        means2d=means2d[on_picture],
        conics=_conics(factors[on_picture], covariances[on_picture]),
        opacities=opacities[on_picture],
        colors=colors[front[on_picture]],
        extents=extents[on_picture],
        order=front[on_picture],
    )


def _jacobians(points: Tensor, camera: Camera) -> Tensor:
    """[N,2,3] derivative of pixel coordinates by camera coordinates (EWA, equation 29)."""
    x, y, z = points.unbind(-1)
    reach = (1.0 + FRUSTUM_MARGIN) * math.tan(0.5 * math.radians(camera.fov_y_deg))
    aspect = camera.width / camera.height
    tan_x = (x / z).clamp(-reach * aspect, reach * aspect)
    tan_y = (y / z).clamp(-reach, reach)
    scale = camera.focal_px / z
    zero = torch.zeros_like(z)
    rows = [scale, zero, -scale * tan_x, zero, scale, -scale * tan_y]
    return torch.stack(rows, dim=-1).reshape(-1, 2, 3)


def _covariances(factors: Tensor) -> Tensor:
    """[N,3] (xx, xy, yy) of factor @ factor.T plus the low-pass, in px^2."""
    u, v = factors.unbind(-2)
    xx, xy, yy = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    return torch.stack([xx + LOW_PASS_PX2, xy, yy + LOW_PASS_PX2], dim=-1)


def _conics(factors: Tensor, covariances: Tensor) -> Tensor:
    """[N,3] (xx, xy, yy) of the inverse covariances.

    The determinant by Lagrange's identity, |u|^2 |v|^2 - (u.v)^2 = |u x v|^2: a sum of positive
    terms, where xx * yy - xy * xy loses all digits of a long, thin footprint.
    """
    xx, xy, yy = covariances.unbind(-1)
    normal = torch.cross(factors[:, 0], factors[:, 1], dim=-1)
    determinant = (normal * normal).sum(-1) + LOW_PASS_PX2 * (xx + yy - LOW_PASS_PX2)
    return torch.stack([yy, -xy, xx], dim=-1) / determinant.unsqueeze(-1)


def _extents(covariances: Tensor, opacities: Tensor) -> Tensor:
    """The box around the ellipse alpha = 1/255: r * sqrt of the variances. Exact, no cap."""
    radius = torch.sqrt(2.0 * torch.log(opacities / MIN_ALPHA))
    return radius.unsqueeze(-1) * covariances[:, ::2].sqrt()


def _on_picture(means2d: Tensor, extents: Tensor, camera: Camera) -> Tensor:
    """Indices of finite footprints whose box meets the picture."""
    limits = means2d.new_tensor([camera.width, camera.height])
    inside = (means2d + extents > 0) & (means2d - extents < limits) & torch.isfinite(extents)
    return torch.nonzero(inside.all(dim=-1)).squeeze(1)

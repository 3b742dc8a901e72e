"""The slow twin of the rasteriser: every Gaussian on every pixel, one after the other.

Written from the definitions (3DGS equations 3 to 6) with the cut-offs of gsplat's classic mode,
using matrices where the rasteriser uses closed forms, in whatever dtype it is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

from miner.geometry.cameras import Camera


def rasterize_dense(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, camera: Camera
) -> tuple[Tensor, Tensor]:
    view, intrinsics = camera.world_to_cam.to(means), camera.K.to(means)
    rows, columns = torch.meshgrid(
        torch.arange(camera.height), torch.arange(camera.width), indexing="ij"
    )
    pixels = torch.stack([columns, rows], dim=-1).to(means) + 0.5
    image = means.new_zeros(camera.height, camera.width, colors.shape[1])
    light = means.new_ones(camera.height, camera.width, 1)
    open_pixels = torch.ones_like(light, dtype=torch.bool)
    points = means @ view[:3, :3].T + view[:3, 3]
    for index in torch.argsort(points[:, 2]).tolist():
        if points[index, 2] <= 0.01:
            continue
        center, covariance = _footprint(
            points[index], quats[index], scales[index], view, intrinsics, camera
        )
        offset = pixels - center
        distance = (offset @ torch.linalg.inv(covariance) * offset).sum(-1, keepdim=True)
        alpha = (opacities[index] * torch.exp(-0.5 * distance)).clamp_max(0.999)
        alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
        open_pixels = open_pixels & (light * (1 - alpha) > 1e-4)
        alpha = torch.where(open_pixels, alpha, torch.zeros_like(alpha))
        image = image + light * alpha * colors[index]
        light = light * (1 - alpha)
    return image, 1 - light


def _footprint(
    point: Tensor, quat: Tensor, scale: Tensor, view: Tensor, intrinsics: Tensor, camera: Camera
) -> tuple[Tensor, Tensor]:
    homogeneous = intrinsics @ point
    w, x, y, z = quat / quat.norm()
    zero = torch.zeros_like(w)
    cross = torch.stack(
        [torch.stack([zero, -z, y]), torch.stack([z, zero, -x]), torch.stack([-y, x, zero])]
    )
    rotation = torch.eye(3).to(point) + 2 * w * cross + 2 * cross @ cross  # Rodrigues
    covariance = rotation @ torch.diag(scale**2) @ rotation.T
    focal = intrinsics[0, 0]
    limit_x, limit_y = 1.3 * camera.width / 2 / focal, 1.3 * camera.height / 2 / focal
    slope_x = (point[0] / point[2]).clamp(-limit_x, limit_x)
    slope_y = (point[1] / point[2]).clamp(-limit_y, limit_y)
    jacobian = torch.stack(
        [
            torch.stack([focal / point[2], zero, -focal * slope_x / point[2]]),
            torch.stack([zero, focal / point[2], -focal * slope_y / point[2]]),
        ]
    )
    to_picture = jacobian @ view[:3, :3]
    flat = to_picture @ covariance @ to_picture.T + 0.3 * torch.eye(2).to(point)
    return homogeneous[:2] / homogeneous[2], flat

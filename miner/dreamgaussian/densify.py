"""Adding and taking away Gaussians: clone, split, prune, reset (3DGS, section 5).

Pure functions of a ``Training``; parameters and moments stay in step. *When* they are used is
decided in ``fit.py``; here is only *what* they do, and the measurements they go by.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from miner.dreamgaussian.params import Cloud, Training, append, take
from miner.dreamgaussian.settings import DensitySettings
from miner.geometry.cameras import Camera
from miner.geometry.rotations import quat_to_matrix
from miner.rendering.projection import NEAR

SPLIT_INTO = 2
SPLIT_SHRINK = 0.8 * SPLIT_INTO
"""Parts of a split Gaussian are so many times smaller (published value)."""

RESET_OPACITY = 0.01
"""Opacities are lowered to this; those that matter come back, the others are pruned."""


@dataclass(frozen=True, eq=False)
class Stats:
    """What was seen of each of N Gaussians since the last change.

    Attributes:
        gradient: [N] sum of the lengths of the gradient by the place on the picture.
        seen: [N] in how many views it was.
        radius_px: [N] largest radius on a picture, three deviations.
    """

    gradient: Tensor
    seen: Tensor
    radius_px: Tensor

    @classmethod
    def empty(cls, training: Training) -> Stats:
        """Nothing seen yet."""
        zeros = training.cloud.opacity_logits.new_zeros(len(training))
        return cls(zeros, zeros.clone(), zeros.clone())

    @property
    def mean_gradient(self) -> Tensor:
        """[N], zero where never seen."""
        return self.gradient / self.seen.clamp_min(1.0)


@torch.no_grad()
def observe(stats: Stats, cloud: Cloud, mean_gradients: Tensor, camera: Camera) -> Stats:
    """The stats with one more view.

    The gradient by the place on the picture is taken from the one by the centre in space: its part
    across the line of sight, times depth over focal length. So any rasteriser will do. It differs
    from the published measure by what the centre does to the footprint's shape, which is little
    for Gaussians that are small beside their distance.

    Args:
        stats: so far.
        cloud: as it was rendered.
        mean_gradients: [N,3] gradient of the loss by the centres, through this view alone.
        camera: of the view.
    """
    view = camera.world_to_cam.to(cloud.means)
    points = cloud.means @ view[:3, :3].T + view[:3, 3]
    depth = points[:, 2]
    rays = torch.nn.functional.normalize(points @ view[:3, :3], dim=-1)
    across = mean_gradients - (mean_gradients * rays).sum(-1, keepdim=True) * rays
    # Half a picture has the length one, as in the published rasteriser: no unit of pixels.
    half_pictures = depth / camera.focal_px * (0.5 * camera.height)
    lengths = torch.nan_to_num(across).norm(dim=-1) * half_pictures
    edge = 0.5 * camera.height / camera.focal_px * depth
    visible = (depth > NEAR) & (points[:, :2].abs().amax(dim=-1) < edge)
    radius_px = 3.0 * cloud.scales.amax(dim=-1) * camera.focal_px / depth.clamp_min(NEAR)
    return Stats(
        stats.gradient + torch.where(visible, lengths, 0.0),
        stats.seen + visible,
        torch.where(visible, torch.maximum(stats.radius_px, radius_px), stats.radius_px),
    )


def clone(training: Training, rows: Tensor) -> Training:
    """Copies of the masked rows at the end, with moments of zero; the originals stay."""
    return append(training, training.cloud.map(lambda tensor: tensor[rows]))


def split(training: Training, rows: Tensor, generator: torch.Generator) -> Training:
    """The masked rows become two each, drawn from themselves and smaller; the originals go."""
    parts = training.cloud.map(lambda tensor: tensor[rows].repeat_interleave(SPLIT_INTO, dim=0))
    noise = torch.randn(parts.means.shape, generator=generator).to(parts.means)
    offsets = (quat_to_matrix(parts.quats) @ (parts.scales * noise).unsqueeze(-1)).squeeze(-1)
    smaller = parts.scales.div(SPLIT_SHRINK).log()
    drawn = Cloud(parts.means + offsets, smaller, parts.quats, parts.opacity_logits, parts.sh_dc)
    return append(prune(training, rows), drawn)


def halve(training: Training, rows: Tensor) -> Training:
    """The masked rows become two each, half a deviation apart along their longest axis.

    The parts have the original's variance along that axis together (1/4 + 3/4), so that the picture
    hardly changes; nothing is drawn.
    """
    parts = training.cloud.map(lambda tensor: tensor[rows].repeat_interleave(2, dim=0))
    sides = torch.tensor([-0.5, 0.5]).to(parts.means).repeat(len(parts) // 2)
    longest = parts.log_scales.argmax(dim=-1, keepdim=True)
    axis = quat_to_matrix(parts.quats).gather(2, longest[:, None].expand(-1, 3, 1)).squeeze(2)
    step = parts.log_scales.gather(1, longest).exp() * sides[:, None]
    shrunk = parts.log_scales.scatter_add(
        1, longest, torch.full_like(step, 0.5 * torch.log(torch.tensor(0.75)).item())
    )
    drawn = Cloud(parts.means + axis * step, shrunk, *parts.tensors()[2:])
    return append(prune(training, rows), drawn)


def prune(training: Training, rows: Tensor) -> Training:
    """Without the masked rows."""
    return take(training, ~rows)


def reset_opacity(training: Training, ceiling: float = RESET_OPACITY) -> Training:
    """Opacities cut at ``ceiling``, with their moments at zero."""
    limit = torch.logit(torch.tensor(ceiling)).item()

    def with_opacity(cloud: Cloud, logits: Tensor) -> Cloud:
        return Cloud(cloud.means, cloud.log_scales, cloud.quats, logits, cloud.sh_dc)

    zeros = torch.zeros_like(training.cloud.opacity_logits)
    return Training(
        with_opacity(training.cloud, training.cloud.opacity_logits.clamp_max(limit)),
        with_opacity(training.first, zeros),
        with_opacity(training.second, zeros),
        training.steps,
    )


def densify(
    training: Training, stats: Stats, settings: DensitySettings, generator: torch.Generator
) -> Training:
    """One round: clone small rows that want to move, split large ones, prune what is of no use.

    Unlike the published code, whose record of sizes on the picture is emptied before it is read,
    ``max_screen_px`` works where it is set.
    """
    rows = stats.mean_gradient >= settings.densify_grad_threshold
    rows &= _room(stats.mean_gradient, settings.max_gaussians - len(training))
    large = training.cloud.scales.amax(dim=-1) > settings.percent_dense * settings.extent
    too_wide = torch.zeros_like(rows)
    if settings.max_screen_px > 0:
        too_wide = stats.radius_px > settings.max_screen_px
    small = rows & ~large
    cloned = clone(training, small)
    added = int(small.sum())
    new = rows.new_zeros(added)
    done = split(cloned, torch.cat([rows & large, new]), generator)
    kept = torch.cat([too_wide, new])[~torch.cat([rows & large, new])]
    drawn = kept.new_zeros(len(done) - len(kept))
    return prune(done, _useless(done.cloud, settings) | torch.cat([kept, drawn]))


def _room(gradient: Tensor, room: int) -> Tensor:
    """[N] bool: the rows with the largest gradients that there is room for; all if for all."""
    if room >= len(gradient):
        return torch.ones_like(gradient, dtype=torch.bool)
    chosen = torch.zeros_like(gradient, dtype=torch.bool)
    order = torch.argsort(gradient, descending=True, stable=True)
    chosen[order[: max(0, room)]] = True
    return chosen


def _useless(cloud: Cloud, settings: DensitySettings) -> Tensor:
    faint = cloud.opacities < settings.prune_opacity
    huge = cloud.scales.amax(dim=-1) > settings.max_scale_share * settings.extent
    return faint | huge

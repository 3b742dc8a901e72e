"""Where a fit begins: a splat that is there, a random ball, or the outline of the picture."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from miner.dreamgaussian.params import Cloud
from miner.dreamgaussian.poses import Pose
from miner.dreamgaussian.settings import StartSettings, ViewSettings
from miner.geometry.gaussians import SH_C0
from miner.rendering.rasterize import rasterize

NEIGHBOURS = 3
"""A new Gaussian is as large as the distance to this many others, in the quadratic mean."""

_LEAST_DISTANCE = 1e-4
"""Two Gaussians on one spot would have no size at all."""

_WITHIN = 0.25
"""Share of a body's Gaussians that are not on its sections' edges."""

_INSET = 0.8
"""Of the spacing between Gaussians, which are made about as large as that times their size."""

_ALIGN_ROUNDS = 3
_ALIGN_PX = 128


def random_ball(settings: StartSettings, generator: torch.Generator) -> Cloud:
    """Grey Gaussians evenly through a ball around the origin (the published start).

    The published one is denser towards the middle: it draws the radius' cosine, not its cube.
    """
    count = settings.num_pts
    directions = F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    distances = torch.rand(count, 1, generator=generator).pow(1 / 3) * settings.radius
    return _round_ones(directions * distances, torch.full((count, 3), 0.5), settings, generator)


def silhouette(
    target: Tensor, views: ViewSettings, settings: StartSettings, generator: torch.Generator
) -> Cloud:
    """Gaussians with the picture's colours on a body that has the picture's outline.

    Where a row of the picture is covered from left to right without a gap, the body's section there
    is an ellipse of that width. So a ball's picture gives a ball, a bottle's a bottle. Most lie on
    the section's edge, the others within: it may be a lid.

    Args:
        target: [S,S,4] the framed picture, RGB and coverage, seen from the reference.
        views: where from.
        settings: how many, how opaque, how deep.
        generator: on the CPU.
    """
    size, count = target.shape[0], settings.num_pts
    half_width, offset = _runs(target[..., 3] > 0.5)
    if not half_width.any():
        return random_ball(settings, generator)
    # A run of n pixels is drawn n times as often as one of them: by its length.
    cells = torch.multinomial(
        (half_width > 0).float().flatten(), count, replacement=True, generator=generator
    )
    angle, inside, depth, jitter = torch.rand(4, count, generator=generator)
    reach = torch.where(inside < _WITHIN, depth.sqrt(), 1.0)
    # A body of revolution has pi times the surface of its outline. What is drawn on the edge shows
    # beyond it by about a Gaussian's size, so it is drawn that much further in.
    spacing_px = math.sqrt(math.pi * int((half_width > 0).sum()) / count)
    half = half_width.flatten()[cells]
    half = torch.maximum(half - _INSET * settings.size * spacing_px, 0.5 * half) * reach
    row, middle = cells // size, cells % size - offset.flatten()[cells] + 0.5
    column = middle + half * torch.cos(2.0 * math.pi * angle)
    deep = settings.depth * half * torch.sin(2.0 * math.pi * angle)
    camera = Pose(0.0, 0.0, views.radius).camera(views.fovy, size)
    # As if seen from far away; the known view corrects the rest.
    unit = views.radius / camera.focal_px
    points = torch.stack([column - 0.5 * size, 0.5 * size - row - jitter, deep], dim=-1) * unit
    colors = target[row, column.long().clamp(0, size - 1), :3]
    return _round_ones(_raised(points, views.reference_elevation), colors, settings, generator)


def from_splat(
    cloud: Cloud, limit: int, target: Tensor | None, views: ViewSettings, generator: torch.Generator
) -> Cloud:
    """A given splat, thinned out to the limit, made as large as the picture shows it.

    Thinned Gaussians grow, so that they cover what all of them covered.

    Args:
        cloud: the splat.
        limit: how many at most.
        target: [S,S,4] the framed picture; None leaves the size as it is.
        views: where from.
        generator: on the CPU.
    """
    if len(cloud) > limit:
        rows = torch.randperm(len(cloud), generator=generator)[:limit].sort().values
        grown = 0.5 * math.log(len(cloud) / limit)
        cloud = cloud.map(lambda tensor: tensor[rows.to(tensor.device)])
        cloud = _with_places(cloud, cloud.means, cloud.log_scales + grown)
    if target is None:
        return cloud
    for _ in range(_ALIGN_ROUNDS):
        cloud = _aligned(cloud, target, views)
    return cloud


@torch.no_grad()
def _aligned(cloud: Cloud, target: Tensor, views: ViewSettings) -> Cloud:
    """Scaled and moved so that its box on the picture is the target's; left alone if there is none.

    The move is across the line of sight, in the plane through the origin.
    """
    pose = Pose(0.0, views.reference_elevation, views.radius)
    camera = pose.camera(views.fovy, _ALIGN_PX)
    _, alpha = rasterize(
        cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.colors, camera
    )
    ours, theirs = _box(alpha[..., 0].cpu()), _box(target[..., 3].cpu())
    if ours is None or theirs is None:
        return cloud
    scale = float((theirs[1] / ours[1]).clamp(0.25, 4.0))
    unit = views.radius * 2.0 * math.tan(0.5 * math.radians(views.fovy))
    right, down = camera.cam_to_world[:3, 0], camera.cam_to_world[:3, 1]
    shift = (theirs[0] - scale * ours[0]).double() * unit
    move = (right * shift[0] + down * shift[1]).to(cloud.means)
    return _with_places(cloud, cloud.means * scale + move, cloud.log_scales + math.log(scale))


def _box(alpha: Tensor) -> tuple[Tensor, Tensor] | None:
    """Middle (x, y from the picture's middle) and longer side of what is covered, in pictures."""
    covered = alpha > 0.5
    if not covered.any():
        return None
    size = alpha.shape[0]
    sides = []
    for axis in (0, 1):
        hits = torch.nonzero(covered.any(dim=axis)).squeeze(1)
        sides.append((int(hits[0]), int(hits[-1]) + 1))
    (left, right), (top, bottom) = sides
    middle = torch.tensor([(left + right) / 2 - size / 2, (top + bottom) / 2 - size / 2]) / size
    return middle, torch.tensor(max(right - left, bottom - top) / size)


def _runs(covered: Tensor) -> tuple[Tensor, Tensor]:
    """Half the length of the run that each pixel is in, and how far it lies from its middle."""
    size = covered.shape[1]
    column = torch.arange(size).expand_as(covered)
    gaps_left = torch.where(covered, -1, column).cummax(dim=1).values
    gaps_right = torch.where(covered, size, column).flip(1).cummin(dim=1).values.flip(1)
    half = 0.5 * (gaps_right - gaps_left - 1).float()
    middle = 0.5 * (gaps_right + gaps_left).float()
    return torch.where(covered, half, 0.0), torch.where(covered, column - middle, 0.0)


def _raised(points: Tensor, elevation_deg: float) -> Tensor:
    """Points as a level camera sees them, turned to be seen so from above."""
    angle = math.radians(elevation_deg)
    c, s = math.cos(angle), math.sin(angle)
    turn = points.new_tensor([[1, 0, 0], [0, c, s], [0, -s, c]])
    return points @ turn.T


def _round_ones(
    points: Tensor, colors: Tensor, settings: StartSettings, generator: torch.Generator
) -> Cloud:
    """Balls as large as their neighbourhood, each turned at random.

    The published start turns none. A ball looks the same however it is turned; but equal rotations
    would have equal axes to grow along.
    """
    count = len(points)
    array = points.numpy().astype(np.float64)
    distances = np.asarray(cKDTree(array).query(array, k=NEIGHBOURS + 1)[0])[:, 1:]
    size = settings.size * np.sqrt(np.square(distances).mean(axis=1)).clip(min=_LEAST_DISTANCE)
    logs = torch.from_numpy(np.log(size).astype(np.float32))[:, None].repeat(1, 3)
    return Cloud(
        means=points.float(),
        log_scales=logs,
        quats=F.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        opacity_logits=torch.full((count,), math.log(settings.opacity / (1 - settings.opacity))),
        sh_dc=(colors.float() - 0.5) / SH_C0,
    )


def _with_places(cloud: Cloud, means: Tensor, log_scales: Tensor) -> Cloud:
    return Cloud(means, log_scales, cloud.quats, cloud.opacity_logits, cloud.sh_dc)

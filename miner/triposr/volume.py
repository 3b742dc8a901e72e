"""Volume rendering of a field: rays, samples, and their composition on white.

Emission and absorption as in NeRF (Mildenhall et al. 2020, arXiv 2003.08934, equation 3), with
TripoSR's conventions: a ray is cut to the box, samples sit in the middle of equal steps, and a step
counts as 1/samples whatever its length in the scene. A density therefore means opacity per ray and
not per unit of length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from miner.triposr.field import Field

RAYS_PER_CHUNK = 8192
"""Bounds the memory: at 128 samples a ray, a million points and their colours at a time."""

BOX_MARGIN = 1e-3
"""The box is made smaller by this part, so that no sample leaves the planes by rounding."""

MIN_PATH = 0.01
"""A ray that crosses less of the box than this, in native units, sees the background."""


def scene_to_native(vectors: Tensor) -> Tensor:
    """Points or directions [...,3] of the scene frame in the native one: (x,y,z) = (Z,X,Y)."""
    return vectors[..., [2, 0, 1]]


def render_rays(field: Field, origins: Tensor, directions: Tensor, samples: int) -> Tensor:
    """Colours seen along rays, on white. Differentiable as far as the field is.

    Args:
        field: in the native frame.
        origins: [P,3] native.
        directions: [P,3] native, of length 1.
        samples: per ray, >= 1.

    Returns:
        [P,3] in [0,1].
    """
    colors = [
        _render_chunk(field, o, d, samples)
        for o, d in zip(
            torch.split(origins, RAYS_PER_CHUNK),
            torch.split(directions, RAYS_PER_CHUNK),
            strict=True,
        )
    ]
    return torch.cat(colors) if colors else origins.new_zeros(0, 3)


def intersect_box(origins: Tensor, directions: Tensor, half_side: float) -> tuple[Tensor, Tensor]:
    """Distances at which rays enter and leave the cube [-half_side, half_side]^3.

    Returns:
        near [P], not behind the origin, and far [P]; far <= near where the ray misses.
    """
    steep = torch.where(directions.abs() < 1e-6, 1e-6, directions)  # no division by zero
    first, second = (half_side - origins) / steep, (-half_side - origins) / steep
    near = torch.minimum(first, second).amax(dim=-1).clamp_min(0.0)
    return near, torch.maximum(first, second).amin(dim=-1)


def _render_chunk(field: Field, origins: Tensor, directions: Tensor, samples: int) -> Tensor:
    near, far = intersect_box(origins, directions, (1.0 - BOX_MARGIN) * field.radius)
    hits = far - near > MIN_PATH
    colors = torch.ones_like(origins)
    if not bool(hits.any()):
        return colors
    edges = torch.linspace(0.0, 1.0, samples + 1, device=origins.device, dtype=origins.dtype)
    middles = 0.5 * (edges[:-1] + edges[1:])
    depths = near[hits, None] * (1.0 - middles) + far[hits, None] * middles  # [Q,S]
    points = origins[hits, None] + depths[..., None] * directions[hits, None]
    density, emitted = field.query(points.reshape(-1, 3))
    weights = _weights(density.reshape(-1, samples), edges.diff())
    seen = (weights[..., None] * emitted.reshape(-1, samples, 3)).sum(dim=1)
    return colors.index_put((hits,), seen + (1.0 - weights.sum(dim=1, keepdim=True)))


def _weights(density: Tensor, steps: Tensor) -> Tensor:
    """How much each sample [P,S] adds to its ray: its opacity times what passes those before it."""
    opacity = 1.0 - torch.exp(-density * steps)
    passing = torch.cumprod(1.0 - opacity, dim=1)
    before = torch.cat([torch.ones_like(passing[:, :1]), passing[:, :-1]], dim=1)
    return opacity * before

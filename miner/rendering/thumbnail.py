"""A small picture of a splat, without torch: for lists of results.

Orthographic, without view-dependent colour, and of at most ``MAX_SHOWN`` Gaussians: good enough to
recognise a thing, and no measure of its quality. Takes about a second and 200 MB at most.
"""

from __future__ import annotations

import io
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miner.geometry.gaussians import Gaussians

SIZE_PX: Final = 192
MAX_SHOWN: Final = 40_000
"""A thing of more Gaussians is shown by a sample, each a little larger; that bounds the memory."""
MAX_RADIUS_PX: Final = 24
MAX_FRAGMENTS: Final = 8_000_000
"""Pixels looked at for all footprints together. Where Gaussians are so large that it would be more,
the picture is made of fewer pixels; where that is still too much, some Gaussians are left out, and
the others cover their place."""
COARSER: Final = (1.0, 0.67, 0.5)
"""Shares of the picture's side at which it is tried."""
CHUNK_FRAGMENTS: Final = 500_000
YAW, PITCH = 0.45, 0.3
"""Radians by which the camera stands to the right of the front, and above it."""
MARGIN: Final = 0.92
"""Share of the picture that the thing fills."""
BLUR: Final = 0.3
"""Square pixels added to every footprint, as the common rasterisers do."""
MIN_ALPHA: Final = 1 / 255

Floats = NDArray[np.float32]


class Footprints(NamedTuple):
    """Gaussians on the picture, front first.

    Attributes:
        centers: [N,2] float32 pixels, x to the right and y down.
        conics: [N,3] float32, the inverse covariance xx, xy, yy in 1/pixel^2.
        radii: [N] int, pixels beyond which nothing is drawn.
        opacities: [N] float32, 0 to 1.
        colors: [N,3] float32 RGB, 0 to 1.
    """

    centers: Floats
    conics: Floats
    radii: NDArray[np.int64]
    opacities: Floats
    colors: Floats


def picture(gaussians: Gaussians, size_px: int = SIZE_PX) -> NDArray[np.uint8]:
    """[S,S,4] uint8 RGBA with straight alpha: the thing on nothing, from the front, a bit aside."""
    if not len(gaussians):
        return np.zeros((size_px, size_px, 4), np.uint8)
    for share in COARSER:
        side_px = round(size_px * share)
        prints = _projected(gaussians, side_px)
        if _looked_at(prints) <= MAX_FRAGMENTS:
            break
    made = _composited(_affordable(prints), side_px)
    if side_px == size_px:
        return made
    return np.asarray(
        Image.fromarray(made, "RGBA").resize((size_px, size_px), Image.Resampling.BICUBIC)
    )


def png(gaussians: Gaussians) -> bytes:
    """The picture as a file."""
    stream = io.BytesIO()
    Image.fromarray(picture(gaussians), "RGBA").save(stream, "PNG")
    return stream.getvalue()


def _projected(gaussians: Gaussians, size_px: int) -> Footprints:
    shown, growth = _sample(gaussians)
    turn = _camera()
    means = gaussians.means[shown] @ turn.T
    low, high = np.quantile(means[:, :2], (0.005, 0.995), axis=0)
    scale = MARGIN * size_px / max(float((high - low).max()), 1e-6)
    offsets = (means[:, :2] - (low + high) / 2) * scale
    centers = offsets * np.array([1, -1], np.float32) + np.float32(size_px / 2)
    axes = _axes(gaussians.quats[shown]) * np.exp(gaussians.log_scales[shown])[:, None, :]
    flat = np.float32(scale * growth) * np.einsum("ij,njk->nik", turn[:2], axes)
    xx, yy = (flat[:, 0] ** 2).sum(1) + BLUR, (flat[:, 1] ** 2).sum(1) + BLUR
    xy = -(flat[:, 0] * flat[:, 1]).sum(1)  # the picture's y points down
    determinant = np.maximum(xx * yy - xy * xy, 1e-6)
    conics = np.stack([yy, -xy, xx], axis=1) / determinant[:, None]
    largest = (xx + yy) / 2 + np.sqrt(np.maximum(((xx - yy) / 2) ** 2 + xy * xy, 0))
    radii = np.clip(np.ceil(2.5 * np.sqrt(largest)), 1, MAX_RADIUS_PX).astype(np.int64)
    opacities = 1 / (1 + np.exp(-gaussians.opacity_logits[shown].astype(np.float64)))
    order = np.argsort(-means[:, 2], kind="stable")
    return Footprints(
        centers[order].astype(np.float32),
        conics[order].astype(np.float32),
        radii[order],
        opacities[order].astype(np.float32),
        np.clip(gaussians.colors[shown][order], 0, 1),
    )


def _sample(gaussians: Gaussians) -> tuple[NDArray[np.int64], float]:
    """Which Gaussians are shown, and by how much each grows to fill the others' place."""
    count = len(gaussians)
    if count <= MAX_SHOWN:
        return np.arange(count), 1.0
    chosen = np.random.default_rng(0).choice(count, MAX_SHOWN, replace=False)
    return np.sort(chosen), float(np.sqrt(count / MAX_SHOWN))


def _affordable(prints: Footprints) -> Footprints:
    """All footprints, or as many of them, by chance, as there may be fragments."""
    looked_at = _looked_at(prints)
    if looked_at <= MAX_FRAGMENTS:
        return prints
    chances = np.random.default_rng(0).random(len(prints.radii))
    kept = chances < MAX_FRAGMENTS / looked_at
    return Footprints(
        prints.centers[kept],
        prints.conics[kept],
        prints.radii[kept],
        prints.opacities[kept],
        prints.colors[kept],
    )


def _looked_at(prints: Footprints) -> float:
    """Pixels of all footprints."""
    return float(((2 * prints.radii + 1) ** 2).sum())


def _camera() -> Floats:
    """[3,3] from the scene to the camera: x to the right, y up, z towards the camera."""
    cy, sy, cp, sp = np.cos(YAW), np.sin(YAW), np.cos(PITCH), np.sin(PITCH)
    yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    turn: Floats = (pitch @ yaw).astype(np.float32)
    return turn


def _axes(quats: Floats) -> Floats:
    """[N,3,3] rotation matrices; the columns are the Gaussians' own axes."""
    w, x, y, z = (quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-8)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1).astype(np.float32)


def _composited(prints: Footprints, size_px: int) -> NDArray[np.uint8]:
    """Front to back, by one sort of all fragments by pixel and depth."""
    pixels, ranks, alphas = _fragments(prints, size_px)
    order = np.argsort(pixels * len(prints.radii) + ranks)
    pixels, ranks, alphas = pixels[order], ranks[order], alphas[order].astype(np.float64)
    logs = np.log1p(-alphas)
    before = np.cumsum(logs) - logs
    first = np.flatnonzero(np.diff(pixels, prepend=-1))
    lengths = np.diff(np.append(first, len(pixels)))
    weights = alphas * np.exp(before - np.repeat(before[first], lengths))
    colors = prints.colors[ranks]
    total = size_px * size_px
    cover = np.bincount(pixels, weights, total)
    mixed = [np.bincount(pixels, weights * colors[:, c], total) for c in range(3)]
    straight = np.stack(mixed, axis=1) / np.maximum(cover, 1e-6)[:, None]
    rgba = np.concatenate([straight, cover[:, None]], axis=1)
    rounded: NDArray[np.uint8] = np.rint(np.clip(rgba, 0, 1) * 255).astype(np.uint8)
    return rounded.reshape(size_px, size_px, 4)


def _fragments(
    prints: Footprints, size_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pixel, rank of the Gaussian and alpha of everything that is drawn."""
    found = []
    for radius in np.unique(prints.radii):
        members = np.flatnonzero(prints.radii == radius)
        step = max(1, CHUNK_FRAGMENTS // int(2 * radius + 1) ** 2)
        for first in range(0, len(members), step):
            some = members[first : first + step]
            found.append(_fragments_of(prints, some, int(radius), size_px))
    pixels, ranks, alphas = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return pixels, ranks, alphas


def _fragments_of(
    prints: Footprints, members: NDArray[np.int64], radius: int, size_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Those of the Gaussians of one radius."""
    steps = np.arange(-radius, radius + 1)
    dx, dy = (axis.ravel() for axis in np.meshgrid(steps, steps))
    centers = prints.centers[members]
    corner = np.floor(centers).astype(np.int64)
    x, y = corner[:, :1] + dx, corner[:, 1:] + dy
    off_x = (x + 0.5 - centers[:, :1]).astype(np.float32)
    off_y = (y + 0.5 - centers[:, 1:]).astype(np.float32)
    xx, xy, yy = (prints.conics[members, i, None] for i in range(3))
    power = 0.5 * (xx * off_x**2 + yy * off_y**2) + xy * off_x * off_y
    alphas = np.minimum(prints.opacities[members, None] * np.exp(-power), np.float32(0.99))
    drawn = (alphas >= MIN_ALPHA) & (x >= 0) & (x < size_px) & (y >= 0) & (y < size_px)
    ranks = np.broadcast_to(members[:, None], drawn.shape)
    return (y * size_px + x)[drawn], ranks[drawn], alphas[drawn].astype(np.float32)

"""What the rollback reaches with the small zero123: prompts and pictures to splats without TripoSR.

A part of ``evaluate``. Silhouettes are compared at one scale for all views of an object, set by the
front; only where the object stands in a view is taken out, since a splat is centred by its box.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from miner.dreamgaussian.fit import Fitter
from miner.dreamgaussian.guidance import Subject
from miner.dreamgaussian.guidance_zero123 import Zero123
from miner.dreamgaussian.poses import Pose
from miner.errors import BadOutput
from miner.geometry.cameras import Camera
from miner.geometry.gaussians import Gaussians
from miner.pipeline import quality
from miner.rendering.rasterize import render

from .pictures import BACKGROUND
from .silhouettes import Mask, iou
from .world.captions import compose
from .world.draw import Drawn, build, draw, refit
from .world.kinds import NAMES as KINDS
from .world.march import DISTANCE, FOV_DEG, silhouette
from .world.march import render as render_object
from .world.palette import dominant_color

SIZE = 64
AZIMUTHS = tuple(range(0, 360, 45))
DRAWS = 24
"""Of a kind, among which the one is sought whose front looks most like a painted picture."""

_WINDOW = 1.7
"""Side of the square in which views are compared, over the front's longer side: room for a side
that is longer than the front."""


@dataclass(frozen=True)
class Score:
    """One object.

    Attributes:
        ious: [8] silhouettes in ``AZIMUTHS``, the front first.
        color: the name of the front's hue.
        seconds: that the fit took.
        processor_seconds: that it computed, which other work on the machine hardly changes.
        passed: the gate.
    """

    ious: list[float]
    color: str
    seconds: float
    processor_seconds: float
    passed: bool


def boxed(mask: Mask, side: float) -> Mask:
    """The mask in a square window of ``side`` pixels around the middle of what is covered."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros((SIZE, SIZE), bool)
    middle = ((rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2)
    ticks = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    i, j = (np.floor(center + ticks * side).astype(int) for center in middle)
    inside = ((i >= 0) & (i < mask.shape[0]))[:, None] & ((j >= 0) & (j < mask.shape[1]))
    window = mask[i.clip(0, mask.shape[0] - 1)][:, j.clip(0, mask.shape[1] - 1)]
    return np.asarray(window & inside)


def boxed_views(views: list[Mask]) -> list[Mask]:
    """All views in windows of one size, which the front's box decides."""
    front = views[0]
    side = max(int(front.any(0).sum()), int(front.any(1).sum()), 1)
    return [boxed(view, _WINDOW * side) for view in views]


def true_views(drawn: Drawn) -> list[Mask]:
    """Silhouettes [8] of an object, finer than they are compared."""
    return [silhouette(drawn.scene, a, drawn.elevation_deg, 2 * SIZE) for a in AZIMUTHS]


def splat_views(splat: Gaussians, elevation_deg: float) -> tuple[list[Mask], NDArray[np.float32]]:
    """Silhouettes [8] of a splat, and its front [S,S,4], colour not premultiplied."""
    images = [
        render(splat, Camera.orbit(a, elevation_deg, 2.6, FOV_DEG, 2 * SIZE), "black")
        for a in AZIMUTHS
    ]
    masks = [np.asarray((alpha[..., 0] > 0.5).numpy()) for _, alpha in images]
    color, alpha = (tensor.numpy() for tensor in images[0])
    return masks, np.concatenate([color / np.maximum(alpha, 0.5), alpha], -1)


def likest(front: Mask, kind: str) -> Drawn:
    """Of several draws of a kind, the one whose front is most like a silhouette."""
    rng = np.random.default_rng([7, KINDS.index(kind)])
    drawn = [refit(build(kind, "grey", compose(kind, "grey", "", rng), rng)) for _ in range(DRAWS)]
    seen = boxed_views([front])[0]
    scores = [
        iou(seen, boxed_views([silhouette(d.scene, 0.0, d.elevation_deg, 2 * SIZE)])[0])
        for d in drawn
    ]
    return drawn[int(np.argmax(scores))]


def score(fitter: Fitter, cutout: Image.Image, truth: Drawn, seed: int) -> Score:
    """Fits one cut-out and holds it against what it should be."""
    began, computed = time.monotonic(), time.process_time()
    splat = fitter.fit(image=cutout, seed=seed)
    seconds, computed = time.monotonic() - began, time.process_time() - computed
    try:
        quality.check(splat)
        passed = True
    except BadOutput as error:
        print(f"  the gate: {error}")
        passed = False
    masks, front = splat_views(splat, truth.elevation_deg)
    pairs = zip(boxed_views(masks), boxed_views(true_views(truth)), strict=True)
    ious = [iou(ours, theirs) for ours, theirs in pairs]
    return Score(ious, dominant_color(front[..., :3], front[..., 3]), seconds, computed, passed)


def true_pictures(count: int) -> Iterator[tuple[Drawn, Image.Image]]:
    """Objects of held-out pairs with their cut-out front pictures."""
    rng = np.random.default_rng([98, 1])
    for _ in range(count):
        drawn = refit(draw(rng, unseen=True))
        yield drawn, Image.fromarray(render_object(drawn.scene, 0.0, drawn.elevation_deg, SIZE))


def painted_pictures(
    prompts: list[tuple[str, str, str]], paint: Callable[[str, int], Image.Image]
) -> Iterator[tuple[Drawn, Image.Image]]:
    """For each prompt its cut-out picture, and the object of its kind that looks most like it."""
    for seed, (kind, _, text) in enumerate(prompts):
        cutout = paint(text, seed)
        front = np.asarray(cutout)[..., 3] > 127
        yield likest(front, kind), cutout


def imagined_scores(guidance: Zero123, count: int, steps: int = 3) -> tuple[float, float, float]:
    """Views that the guidance makes up of true pictures of held-out pairs.

    Returns:
        Silhouette IoU, PSNR in dB, and the same IoU where the front picture itself is taken for
        every view: what knowing nothing about turning would give.
    """
    behind = np.array(BACKGROUND, np.float32)
    ious, errors, lazy = [], [], []
    for seed, (drawn, cutout) in enumerate(true_pictures(count)):
        rgba = torch.from_numpy(np.array(cutout, np.float32) / 255)
        reference = Pose(0.0, drawn.elevation_deg, DISTANCE)
        guidance.prepare(Subject(rgba, None, reference, torch.from_numpy(behind)), seed)
        poses = [Pose(float(a), drawn.elevation_deg, DISTANCE) for a in AZIMUTHS[1:]]
        views = guidance.imagine(poses, steps, torch.Generator().manual_seed(seed)).numpy()
        for azimuth, view in zip(AZIMUTHS[1:], views, strict=True):
            true = render_object(drawn.scene, azimuth, drawn.elevation_deg, SIZE) / np.float32(255)
            flat = true[..., :3] * true[..., 3:] + behind * (1 - true[..., 3:])
            covered = np.abs(view - behind).max(-1) > 0.08
            ious.append(iou(covered, true[..., 3] > 0.5))
            lazy.append(iou(np.asarray(rgba[..., 3] > 0.5), true[..., 3] > 0.5))
            errors.append(float(np.square(view - flat).mean()))
    return float(np.mean(ious)), float(-10 * np.log10(np.mean(errors))), float(np.mean(lazy))


def right_hues(scores: list[Score], colors: list[str]) -> float:
    """Share of the objects whose front has the hue that was wanted."""
    return float(np.mean([s.color == color for s, color in zip(scores, colors, strict=True)]))

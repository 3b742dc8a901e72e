"""The training data: shards of drawn objects with pictures, points, colours and captions.

``python -m miner.mini.training.dataset FOLDER --first 0 --count 40`` writes shards of 250 objects.
A shard is a function of its number alone, so that several processes can share the work and a run
can be resumed. Readers use whatever shards exist.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .world.draw import Drawn, draw, refit
from .world.kinds import NAMES as KIND_NAMES
from .world.march import render
from .world.palette import NAMES as COLOR_NAMES
from .world.palette import shade

SHARD = 250
SIZE = 64
NEAR, UNIFORM = 1408, 640
"""Points kept per object: around the surface, and anywhere in the box."""
RADIUS = 0.87
UNSEEN_SHARD = 100_000
"""Shards from this number on hold only kind-colour pairs that training must not see."""


@dataclass(frozen=True)
class Objects:
    """N objects, arrays stacked over shards.

    Attributes:
        rgba: [N,64,64,4] uint8 front pictures, colour not premultiplied.
        points: [N,NEAR+UNIFORM,3] float16, native frame.
        sdf: [N,NEAR+UNIFORM] float16, negative inside.
        rgb: [N,NEAR,3] uint8 lit colour of the surface next to each near point.
        kinds, colors: [N] uint8 indices.
        frames: [N] float16 share of the picture's side, 0 if the caption leaves it open.
        captions: N texts.
    """

    rgba: NDArray[np.uint8]
    points: NDArray[np.float16]
    sdf: NDArray[np.float16]
    rgb: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    colors: NDArray[np.uint8]
    frames: NDArray[np.float16]
    captions: list[str]


def sample_points(
    drawn: Drawn, rng: np.random.Generator
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.uint8]]:
    """Points, signed distances and lit colours as in ``Objects``, of one object."""
    scene = drawn.scene
    anywhere = rng.uniform(-RADIUS, RADIUS, (4096, 3)).astype(np.float32)
    d = scene.distance(anywhere)
    close = np.argsort(np.abs(d))[:704]
    surface = anywhere[close]
    for _ in range(2):
        normals = scene.normal(surface)
        surface = surface - normals * scene.distance(surface)[:, None]
    lit = scene.color(surface) * shade(scene.normal(surface))[:, None]
    spread = np.where(rng.random((2, len(close), 1)) < 0.6, 0.012, 0.045)
    jitter = rng.standard_normal((2, len(close), 3)) * spread
    near = np.clip((surface + jitter).reshape(-1, 3), -RADIUS, RADIUS).astype(np.float32)
    points = np.concatenate([near, anywhere[:UNIFORM]])
    sdf = np.concatenate([scene.distance(near), d[:UNIFORM]])
    rgb = np.clip(np.concatenate([lit, lit]) * 255 + 0.5, 0, 255).astype(np.uint8)
    return points.astype(np.float16), np.clip(sdf, -2, 2).astype(np.float16), rgb


def make_shard(folder: Path, number: int) -> None:
    """Write one shard, unless it is there."""
    path = folder / f"{number:06d}.npz"
    if path.exists():
        return
    rng = np.random.default_rng([17, number])
    rows: dict[str, list[object]] = {
        name: []
        for name in ("rgba", "points", "sdf", "rgb", "kinds", "colors", "frames", "captions")
    }
    for _ in range(SHARD):
        drawn = refit(draw(rng, unseen=number >= UNSEEN_SHARD))
        points, sdf, rgb = sample_points(drawn, rng)
        rows["rgba"].append(render(drawn.scene, 0.0, drawn.elevation_deg, SIZE))
        rows["points"].append(points)
        rows["sdf"].append(sdf)
        rows["rgb"].append(rgb)
        rows["kinds"].append(np.uint8(KIND_NAMES.index(drawn.kind)))
        rows["colors"].append(np.uint8(COLOR_NAMES.index(drawn.color)))
        rows["frames"].append(np.float16(drawn.caption.frame))
        rows["captions"].append(drawn.caption.text)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{k: np.array(v) for k, v in rows.items()})
    part.replace(path)


def load(folder: Path, unseen: bool = False, skip: int = 0, limit: int | None = None) -> Objects:
    """All shards in the folder, of seen or of unseen pairs, without the first ``skip`` of them."""
    paths = sorted(folder.glob("*.npz"))
    paths = [p for p in paths if (int(p.stem) >= UNSEEN_SHARD) == unseen][skip:][:limit]
    stacks: dict[str, list[NDArray[np.generic]]] = {}
    for path in paths:
        with np.load(path) as shard:
            for name in shard.files:
                stacks.setdefault(name, []).append(shard[name])
    whole = {name: np.concatenate(parts) for name, parts in stacks.items()}
    captions = [str(text) for text in whole.pop("captions")]
    return Objects(captions=captions, **whole)


def main() -> None:
    """Write shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.first, options.first + options.count, options.step):
        make_shard(options.folder, number)
        print(f"shard {number} by {os.getpid()}", flush=True)


if __name__ == "__main__":
    main()

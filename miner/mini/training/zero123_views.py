"""The training data of the small zero123: objects seen from the front and from elsewhere.

``python -m miner.mini.training.zero123_views FOLDER --first 0 --count 16`` writes shards of 125
objects. A shard is a function of its number alone; readers use whatever shards exist. Cameras are
the world's own (``world.march``), all at one distance: only the direction differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import SIZE, UNSEEN_SHARD
from .world.draw import draw, refit
from .world.march import render

SHARD = 125
TURNS = 8
"""Views of each object beside the front: rendering one costs as much as three steps' share of it
in training, and fewer of more objects teach the same about turning and more about objects."""

ELEVATIONS_DEG = (-20.0, 45.0)
"""Of the turned views; the front is taken from between 9 and 15 (``world.draw``)."""


def make_shard(folder: Path, number: int, count: int = SHARD) -> None:
    """Write one shard of ``count`` objects, unless it is there.

    Arrays: ``front`` [N,64,64,4] and ``turned`` [N,TURNS,64,64,4] uint8 RGBA, colour not
    premultiplied; ``front_elevation`` [N], ``azimuth`` and ``elevation`` [N,TURNS] float32 degrees.
    """
    path = folder / f"{number:06d}.npz"
    if path.exists():
        return
    rng = np.random.default_rng([31, number])
    front = np.empty((count, SIZE, SIZE, 4), np.uint8)
    turned = np.empty((count, TURNS, SIZE, SIZE, 4), np.uint8)
    front_elevation = np.empty(count, np.float32)
    azimuth = rng.uniform(0, 360, (count, TURNS)).astype(np.float32)
    elevation = rng.uniform(*ELEVATIONS_DEG, (count, TURNS)).astype(np.float32)
    for i in range(count):
        drawn = refit(draw(rng, unseen=number >= UNSEEN_SHARD))
        front[i] = render(drawn.scene, 0.0, drawn.elevation_deg, SIZE)
        front_elevation[i] = drawn.elevation_deg
        for j in range(TURNS):
            turned[i, j] = render(drawn.scene, float(azimuth[i, j]), float(elevation[i, j]), SIZE)
    _write(
        path,
        front=front,
        turned=turned,
        front_elevation=front_elevation,
        azimuth=azimuth,
        elevation=elevation,
    )


def _write(path: Path, **arrays: NDArray[np.generic]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)


def main() -> None:
    """Write shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--step", type=int, default=1)
    o = parser.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    for number in range(o.first, o.first + o.count, o.step):
        make_shard(o.folder, number)
        print(f"shard {number}", flush=True)


if __name__ == "__main__":
    main()

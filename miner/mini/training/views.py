"""Views from around objects and around splats: what the self-check's model learns to look at.

``python -m miner.mini.training.views OUT --first 0 --count 20`` writes shards of 250 objects, each
a function of its number, as in ``dataset``. Most views are of the objects themselves; those of one
object in eight are of the splat that the shipped TripoSR makes of its true picture. Nothing is
painted: the model must not learn to forgive a painter.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miner.errors import StageError
from miner.geometry.cameras import (
    SCORER_ELEVATION_DEG,
    SCORER_FOV_Y_DEG,
    SCORER_RADIUS,
    Camera,
)
from miner.gpu.device import choose_device
from miner.pipeline.background import frame
from miner.pipeline.reconstruct import Reconstructor
from miner.rendering.rasterize import render as rasterize
from miner.settings import ReconstructSettings, SurfaceKeys

from .dataset import SHARD, SIZE, UNSEEN_SHARD
from .export import WEIGHTS
from .world.draw import Drawn, draw, refit
from .world.kinds import NAMES as KIND_NAMES
from .world.march import render
from .world.palette import NAMES as COLOR_NAMES

VIEWS = 4
"""Of each object, from anywhere around it; the first from near the front."""

SPLAT_EVERY = 8

KEYS = SurfaceKeys(count=7_000, resolution=64, base_resolution=32)
"""Coarser than the preset's: at 64 px nothing of it can be seen."""

SHRINK = 0.78
"""The scorer's cameras see an object that much smaller than the world's own camera does."""


@dataclass(frozen=True)
class Views:
    """N objects, arrays stacked over shards.

    Attributes:
        rgba: [N,VIEWS,64,64,4] uint8, colour premultiplied by the alpha.
        splats: [N] bool, whether the views are of a splat.
        kinds, colors: [N] uint8 indices.
        captions: N texts.
    """

    rgba: NDArray[np.uint8]
    splats: NDArray[np.bool_]
    kinds: NDArray[np.uint8]
    colors: NDArray[np.uint8]
    captions: list[str]


def object_views(drawn: Drawn, azimuths: list[float]) -> NDArray[np.uint8]:
    """[V,64,64,4] of the object itself, as large as the scorer's cameras see it."""
    side = round(SIZE * SHRINK)
    at = (SIZE - side) // 2
    out = np.zeros((len(azimuths), SIZE, SIZE, 4), np.uint8)
    for view, azimuth in zip(out, azimuths, strict=True):
        rgba = render(drawn.scene, azimuth, SCORER_ELEVATION_DEG, SIZE)
        small = Image.fromarray(rgba, "RGBA").resize((side, side), Image.Resampling.BOX)
        straight = np.array(small, np.float32)  # resized by way of premultiplied colours
        straight[..., :3] *= straight[..., 3:] / 255
        view[at : at + side, at : at + side] = straight.round()
    return out


def splat_views(
    drawn: Drawn, azimuths: list[float], reconstructor: Reconstructor, seed: int
) -> NDArray[np.uint8]:
    """[V,64,64,4] of the splat of the object's true picture.

    Raises:
        StageError: there is no surface.
    """
    drawn = refit(drawn)
    picture = render(drawn.scene, 0.0, drawn.elevation_deg, SIZE)
    codes = reconstructor.encode(frame(Image.fromarray(picture, "RGBA"), 0.85))
    gaussians, _ = reconstructor.to_gaussians(codes, KEYS, seed)
    out = np.empty((len(azimuths), SIZE, SIZE, 4), np.uint8)
    for view, azimuth in zip(out, azimuths, strict=True):
        camera = Camera.orbit(azimuth, SCORER_ELEVATION_DEG, SCORER_RADIUS, SCORER_FOV_Y_DEG, SIZE)
        image, alpha = rasterize(gaussians, camera, "black")
        view[...] = (np.concatenate([image.numpy(), alpha.numpy()], -1) * 255).round()
    return out


def make_shard(folder: Path, number: int, reconstructor: Reconstructor) -> None:
    """Write one shard, unless it is there."""
    path = folder / f"{number:06d}.npz"
    if path.exists():
        return
    rng = np.random.default_rng([23, number])
    rows: dict[str, list[object]] = {
        name: [] for name in ("rgba", "splats", "kinds", "colors", "captions")
    }
    for i in range(SHARD):
        drawn = draw(rng, unseen=number >= UNSEEN_SHARD)
        azimuths = [float(rng.uniform(-12, 12)), *rng.uniform(0, 360, VIEWS - 1).tolist()]
        splat = i % SPLAT_EVERY == 0
        try:
            views = (
                splat_views(drawn, azimuths, reconstructor, i)
                if splat
                else object_views(drawn, azimuths)
            )
        except StageError:
            continue
        rows["rgba"].append(views)
        rows["splats"].append(splat)
        rows["kinds"].append(np.uint8(KIND_NAMES.index(drawn.kind)))
        rows["colors"].append(np.uint8(COLOR_NAMES.index(drawn.color)))
        rows["captions"].append(drawn.caption.text)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{k: np.array(v) for k, v in rows.items()})
    part.replace(path)


def load(folder: Path, unseen: bool = False) -> Views:
    """All shards in the folder, of seen or of unseen pairs."""
    paths = [p for p in sorted(folder.glob("*.npz")) if (int(p.stem) >= UNSEEN_SHARD) == unseen]
    stacks: dict[str, list[NDArray[np.generic]]] = {}
    for path in paths:
        with np.load(path) as shard:
            for name in shard.files:
                stacks.setdefault(name, []).append(shard[name])
    whole = {name: np.concatenate(parts) for name, parts in stacks.items()}
    captions = [str(text) for text in whole.pop("captions")]
    return Views(captions=captions, **whole)


def main() -> None:
    """Write shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--step", type=int, default=1)
    o = parser.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    settings = ReconstructSettings(weights="mini/triposr")
    reconstructor = Reconstructor.load(WEIGHTS / "triposr", settings, choose_device("cpu"))
    for number in range(o.first, o.first + o.count, o.step):
        make_shard(o.out, number, reconstructor)
        print(f"shard {number}", flush=True)


if __name__ == "__main__":
    main()

"""Our recipe from field to Gaussians beside others, on one analytic object: PSNR and time.

    python -m tests.benchmarks.bench_surface

The usual way of making a splat from a mesh is a ball at each vertex of marching cubes. From there
the rows lead to ours, one measure at a time. The reference is the exact picture (several rays a
pixel) of two of the scorer's views, at its own size and at 256 pixels. Time is from the field to
the Gaussians.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from miner.geometry.cameras import SCORER_SIZE_PX, scorer_cameras
from miner.geometry.gaussians import Gaussians, from_activated
from miner.rendering.metrics import psnr
from miner.rendering.rasterize import render
from miner.triposr.blue_noise import MeshSampler
from miner.triposr.isosurface import extract_mesh
from miner.triposr.placement import Placement
from miner.triposr.surface import field_to_gaussians
from miner.triposr.surface_settings import SurfaceSettings
from tests.triposr.analytic import AnalyticField, picture, test_object

SIZES_PX = (256, SCORER_SIZE_PX)
OURS = SurfaceSettings()
TARGET_DB = 31.0
Recipe = Callable[[AnalyticField], tuple[Gaussians, Placement]]


def main() -> None:
    """Print the table."""
    field = test_object()
    print(f"field to Gaussians, analytic object; target: {TARGET_DB:g} dB at 256 px with 40,000")
    sizes = "".join(f"{f'{size} px dB':>12}" for size in SIZES_PX)
    print(f"{'recipe':<52}{'Gaussians':>10}{'seconds':>9}{sizes}")
    for name, recipe in recipes().items():
        start = time.perf_counter()
        gaussians, placement = recipe(field)
        seconds = time.perf_counter() - start
        values = "".join(f"{score(field, gaussians, placement, s):12.2f}" for s in SIZES_PX)
        print(f"{name:<52}{len(gaussians):10,}{seconds:9.2f}{values}", flush=True)


def recipes() -> dict[str, Recipe]:
    """From the usual way to ours, and ours with other counts and grids."""
    bare = replace(OURS, relax_rounds=0, inset_px=0.0)
    return {
        "balls at vertices of a 64^3 grid": vertex_balls(64),
        "balls at vertices of a 128^3 grid": vertex_balls(128),
        "discs at random samples": ours(bare),
        "discs at spread samples": ours(replace(bare, relax_rounds=OURS.relax_rounds)),
        "discs at spread samples, inset (ours)": ours(OURS),
        "ours, inset for 256 px": ours(replace(OURS, inset_px=2.0)),
        "ours, inset for the scorer's view": ours(replace(OURS, inset_px=1.0)),
        "ours, 128^3 grid": ours(replace(OURS, resolution=128, base_resolution=32)),
        "ours, 20,000": ours(replace(OURS, count=20_000)),
        "ours, 100,000": ours(replace(OURS, count=100_000)),
    }


def ours(settings: SurfaceSettings) -> Recipe:
    """Our recipe with some settings."""

    def recipe(field: AnalyticField) -> tuple[Gaussians, Placement]:
        gaussians, report = field_to_gaussians(field, settings)
        return gaussians, report.placement

    return recipe


def vertex_balls(resolution: int, spread: float = 0.6, opacity: float = 0.95) -> Recipe:
    """A ball at each vertex of the mesh, as wide as the mean spacing asks for."""

    def recipe(field: AnalyticField) -> tuple[Gaussians, Placement]:
        mesh = extract_mesh(field, SurfaceSettings(resolution=resolution, base_resolution=32))
        placement = Placement.around(mesh.vertices)
        count = len(mesh.vertices)
        width = spread * placement.scale * np.sqrt(MeshSampler(mesh).area / count)
        _, colors = field.query(torch.from_numpy(mesh.vertices))
        gaussians = from_activated(
            placement.to_scene(mesh.vertices),
            np.full((count, 3), width, np.float32),
            np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
            np.full(count, opacity, np.float32),
            colors.numpy(),
        )
        return gaussians, placement

    return recipe


def score(field: AnalyticField, gaussians: Gaussians, placement: Placement, size: int) -> float:
    """Mean PSNR in dB over two views, a front and a back one."""
    values = []
    for view in scorer_cameras(size)[1:9:7]:
        truth = picture(field, view, placement.to_native, samples=3 if size <= 256 else 2)
        values.append(psnr(render(gaussians, view)[0], truth))
    return float(np.mean(values))


if __name__ == "__main__":
    main()

"""Coarse-to-fine extraction beside the dense grid: points asked, time, and what differs.

    python -m tests.benchmarks.bench_isosurface

Both run on the same analytic objects, 256 cells a side, one thread, one after the other. The
distance is the largest from a vertex of one mesh to the nearest of the other, either way round.
Time is that of cheap formulas: where a network answers, the ratio of times comes nearer to that of
points.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from miner.triposr.field import Field
from miner.triposr.isosurface import Mesh, extract_mesh
from miner.triposr.surface_settings import SurfaceSettings
from tests.triposr.analytic import zoo

OBJECTS = ("test object", "mug", "tilted plate", "thin rods", "nested shells")
OURS = SurfaceSettings()
DENSE = replace(OURS, base_resolution=OURS.resolution)


def main() -> None:
    """Print the table."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"isosurface at {OURS.resolution}^3, one thread; target: a tenth of the points")
    print(
        f"{'object':<15}{'dense pts':>11}{'our pts':>11}{'ratio':>7}{'dense s':>9}{'our s':>7}"
        f"{'vertices':>10}{'parts':>9}{'distance':>10}"
    )
    objects = zoo()
    for name in OBJECTS:
        print(row(name, objects[name]), flush=True)
    torch.set_num_threads(threads)


def row(name: str, field: Field) -> str:
    """One object, both ways."""
    dense, dense_seconds = timed(field, DENSE)
    ours, our_seconds = timed(field, OURS)
    ratio = dense.grid_points / ours.grid_points
    voxel = 2 * field.radius / OURS.resolution
    return (
        f"{name:<15}{dense.grid_points:11,}{ours.grid_points:11,}{ratio:6.1f}x"
        f"{dense_seconds:9.2f}{our_seconds:7.2f}{len(ours.vertices):10,}"
        f"{f'{parts(ours)} of {parts(dense)}':>9}{distance(dense, ours) / voxel:7.3f} vx"
    )


def timed(field: Field, settings: SurfaceSettings) -> tuple[Mesh, float]:
    """The mesh and the seconds it took."""
    start = time.perf_counter()
    mesh = extract_mesh(field, settings)
    return mesh, time.perf_counter() - start


def parts(mesh: Mesh) -> int:
    """Connected components."""
    ends = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    size = len(mesh.vertices)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (size, size))
    return int(connected_components(graph, directed=False)[0])


def distance(one: Mesh, other: Mesh) -> float:
    """The Hausdorff distance between the vertices."""
    there = cKDTree(other.vertices).query(one.vertices)[0].max()
    back = cKDTree(one.vertices).query(other.vertices)[0].max()
    return float(max(there, back))


if __name__ == "__main__":
    main()

"""The coarse-to-fine isosurface against the dense grid and against the true surface."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from miner.errors import BadOption, BadOutput
from miner.triposr.isosurface import Mesh, extract_mesh
from miner.triposr.surface_settings import SurfaceSettings
from tests.triposr.analytic import (
    AnalyticField,
    box,
    capsule,
    shell,
    sphere,
    tilted,
    torus,
    union,
    zoo,
)

FINE = SurfaceSettings(resolution=128, base_resolution=32)
DENSE = SurfaceSettings(resolution=128, base_resolution=128)
VOXEL = 2 * 0.87 / 128


def _edges_once(mesh: Mesh) -> int:
    """Directed edges that their opposite does not accompany: 0 for a closed, oriented mesh."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    keys = edges.astype(np.int64) @ np.array([len(mesh.vertices), 1])
    back = edges[:, ::-1].astype(np.int64) @ np.array([len(mesh.vertices), 1])
    return len(np.setxor1d(keys, back))


def _components(mesh: Mesh) -> int:
    count = len(mesh.vertices)
    links = coo_matrix(
        (np.ones(len(mesh.faces)), (mesh.faces[:, 0], mesh.faces[:, 1])), (count, count)
    )
    links += coo_matrix(
        (np.ones(len(mesh.faces)), (mesh.faces[:, 1], mesh.faces[:, 2])), (count, count)
    )
    return int(connected_components(links, directed=False)[0])


def _volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].astype(np.float64).swapaxes(0, 1)
    return float(np.einsum("nd,nd->", a, np.cross(b, c)) / 6)


@pytest.mark.parametrize("name", zoo())
def test_same_mesh_as_the_dense_grid(name: str) -> None:
    """Coarse to fine gives the vertices and faces of the dense grid, whatever the object."""
    field = zoo()[name]
    sparse, dense = extract_mesh(field, FINE), extract_mesh(field, DENSE)

    np.testing.assert_array_equal(sparse.faces, dense.faces)
    # float32 rounds a little differently relative to different corners of the crop.
    np.testing.assert_allclose(sparse.vertices, dense.vertices, atol=1e-3 * VOXEL)


@pytest.mark.parametrize("name", ["test object", "nested shells", "thin rods", "mug"])
def test_a_tenth_of_the_points(name: str) -> None:
    """At 256^3 at most a tenth of the grid's points are asked."""
    mesh = extract_mesh(zoo()[name], SurfaceSettings())
    assert mesh.grid_points <= 257**3 / 10


@settings(max_examples=25, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    half=st.tuples(*[st.floats(1.2 * VOXEL, 0.4)] * 3),
    center=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
)
def test_tilted_boxes_are_found_whole(
    angles: tuple[float, float, float],
    half: tuple[float, float, float],
    center: tuple[float, float, float],
) -> None:
    """A box thicker than two voxels is one closed part, within a voxel of the truth."""
    distance = tilted(box(half, center), angles)
    mesh = extract_mesh(AnalyticField(distance), FINE)

    assert _components(mesh) == 1
    assert _edges_once(mesh) == 0
    assert distance(torch.from_numpy(mesh.vertices)).abs().max() < VOXEL


def test_every_speck_is_found() -> None:
    """Parts a little larger than two voxels survive even where they fall between coarse points."""
    rng = np.random.default_rng(11)
    cells = rng.choice(12**3, 60, replace=False)
    centers = (np.stack(np.unravel_index(cells, (12,) * 3), axis=1) - 5.5) * 0.13
    specks = [sphere(1.05 * VOXEL, tuple(c)) for c in centers.tolist()]
    mesh = extract_mesh(AnalyticField(union(*specks)), FINE)

    assert _components(mesh) == 60


def test_nested_shells_keep_every_surface() -> None:
    """A shell has an outer and an inner surface; both of each are there."""
    field = AnalyticField(union(shell(sphere(0.6), 0.05), shell(sphere(0.35), 0.05), sphere(0.1)))
    assert _components(extract_mesh(field, FINE)) == 5


def test_distance_to_the_true_surface() -> None:
    """Vertices lie within a tenth of a voxel where the level is smooth."""
    distance = tilted(torus(0.5, 0.2), (20.0, 50.0, 10.0))
    mesh = extract_mesh(AnalyticField(distance), FINE)
    assert distance(torch.from_numpy(mesh.vertices)).abs().max() < 0.1 * VOXEL


def test_faces_point_outwards() -> None:
    """The volume enclosed by counter-clockwise faces is positive, and that of the sphere."""
    mesh = extract_mesh(AnalyticField(sphere(0.5)), FINE)
    assert _volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.5**3, rel=0.01)


@pytest.mark.parametrize("end", [0.86, 2.0])
def test_surface_closes_at_the_box(end: float) -> None:
    """An object that leaves the box is cut off just inside it, and the mesh is closed."""
    mesh = extract_mesh(AnalyticField(capsule((-end, 0.1, 0.0), (end, 0.2, 0.1), 0.3)), FINE)

    assert _edges_once(mesh) == 0
    assert np.abs(mesh.vertices).max() <= 0.87
    assert np.ptp(mesh.vertices, axis=0)[0] > 2 * 0.87 - 2 * VOXEL


def test_full_box_is_a_cube() -> None:
    """A field that is dense everywhere has the box as its surface."""
    mesh = extract_mesh(AnalyticField(sphere(9.0)), FINE)
    assert _volume(mesh) == pytest.approx((2 * 0.87) ** 3, rel=0.03)


@pytest.mark.parametrize("softness", [1e-6, 0.003, 0.3])
def test_density_may_overflow_and_underflow(softness: float) -> None:
    """Infinite and zero densities are only very deep and very far."""
    mesh = extract_mesh(AnalyticField(sphere(0.5), softness=softness), FINE)
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radii - 0.5).max() < VOXEL


def test_empty_field_is_bad_output() -> None:
    """A field without a surface is an error of the stage, with one line for a person."""
    with pytest.raises(BadOutput, match="reconstruct: no surface"):
        extract_mesh(AnalyticField(sphere(0.1, (5.0, 0.0, 0.0))), FINE)


@pytest.mark.parametrize(
    "bad",
    [
        {"count": 6_999},
        {"count": 500_001},
        {"resolution": 200},
        {"resolution": 32},
        {"threshold": 0.0},
        {"threshold": math.nan},
        {"opacity": 1.0},
        {"relax_rounds": -1},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    """A number out of its range is a BadOption that shows the number."""
    with pytest.raises(BadOption, match=str(next(iter(bad.values())))):
        SurfaceSettings(**bad)  # type: ignore[arg-type]

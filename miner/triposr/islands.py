"""Specks that float beside an object are left out.

A field learnt from one picture often holds a few stray specks above the threshold. Nobody asked for
them, and they cost more than they look: whoever scales a splat by its box scales it by the specks.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from miner.triposr.isosurface import Mesh


def without_islands(mesh: Mesh, share: float) -> Mesh:
    """The mesh without connected parts of less than ``share`` of its whole area.

    The largest part always stays. Nested shells are parts of their own: the outer of two close
    shells has more than half of their area, so that no sensible share drops it.

    Args:
        mesh: welded, as ``extract_mesh`` gives it.
        share: in [0,1); 0 keeps everything.
    """
    if share <= 0:
        return mesh
    faces = mesh.faces
    pairs = np.concatenate([faces[:, :2], faces[:, 1:]])
    links = sparse.coo_matrix(
        (np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(mesh.vertices),) * 2
    )
    _, part = connected_components(links, directed=False)
    areas = np.bincount(part[faces[:, 0]], weights=_face_areas(mesh), minlength=part.max() + 1)
    keep = areas >= min(share * areas.sum(), areas.max())
    if keep.all():
        return mesh
    used = keep[part]
    index = np.cumsum(used) - 1
    return Mesh(
        vertices=mesh.vertices[used],
        faces=index[faces[used[faces[:, 0]]]].astype(faces.dtype),
        grid_points=mesh.grid_points,
    )


def _face_areas(mesh: Mesh) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    areas: np.ndarray[tuple[int], np.dtype[np.float64]] = (
        np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    )
    return areas

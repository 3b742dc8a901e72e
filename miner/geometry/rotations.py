"""Rotations: quaternions, matrices, and orthonormal frames around a direction.

Quaternions are ``wxyz`` and rotate own axes into the scene: v_scene = R(q) v_own. Every function
works on leading batch dimensions, keeps dtype and device, and is differentiable.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def quat_to_matrix(quats: Tensor) -> Tensor:
    """Rotation matrices of quaternions.

    Args:
        quats: [...,4] ``wxyz``, of any length but zero; normalised here, so that the length carries
            no gradient (a zero quaternion gives the identity rather than NaN).

    Returns:
        [...,3,3]; column k is own axis k in the scene frame.
    """
    w, x, y, z = F.normalize(quats, dim=-1, eps=1e-12).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(*quats.shape[:-1], 3, 3)


def matrix_to_quat(matrices: Tensor) -> Tensor:
    """Unit quaternions ``wxyz`` with w >= 0 of rotation matrices.

    The four candidates of Shepperd (1978) are built without a division, each being the quaternion
    times four times one of its own components; the longest is kept, which is never near zero.

    Args:
        matrices: [...,3,3] proper rotations.

    Returns:
        [...,4]. Where w is exactly zero (half turns) the sign of the first non-zero component of
        x, y, z is positive, so that equal rotations give equal quaternions.
    """
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (
        row.unbind(-1) for row in matrices.unbind(-2)
    )
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m01 + m10, m02 + m20, m12 + m21
    candidates = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, wx, wy, wz], dim=-1),
            torch.stack([wx, 1 + m00 - m11 - m22, xy, xz], dim=-1),
            torch.stack([wy, xy, 1 - m00 + m11 - m22, yz], dim=-1),
            torch.stack([wz, xz, yz, 1 - m00 - m11 + m22], dim=-1),
        ],
        dim=-2,
    )
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    return canonical_sign(F.normalize(candidates.gather(-2, index).squeeze(-2), dim=-1))


def canonical_sign(quats: Tensor) -> Tensor:
    """[...,4] ``wxyz`` with the sign chosen so that the first non-zero component is positive."""
    nonzero = (quats != 0).to(torch.int8).argmax(dim=-1, keepdim=True)
    return torch.where(quats.gather(-1, nonzero) < 0, -quats, quats)


def with_largest_w(quats: Tensor) -> Tensor:
    """Of the four rotations that show the same ellipsoid, the one nearest to none at all.

    A half turn about an own axis leaves a Gaussian as it is. Formats that store x, y, z and rebuild
    w lose most where w is small; here w is at least a half.

    Args:
        quats: [...,4] unit ``wxyz``.

    Returns:
        [...,4] unit ``wxyz``, w >= 0.5.
    """
    w, x, y, z = quats.unbind(-1)
    candidates = torch.stack(
        [
            quats,
            torch.stack([-x, w, z, -y], dim=-1),
            torch.stack([-y, -z, w, x], dim=-1),
            torch.stack([-z, y, -x, w], dim=-1),
        ],
        dim=-2,
    )
    best = candidates[..., 0].abs().argmax(dim=-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    return canonical_sign(candidates.gather(-2, index).squeeze(-2))


def frames_from_normals(normals: Tensor) -> Tensor:
    """Right-handed orthonormal frames whose third column is the normal.

    Duff et al., "Building an Orthonormal Basis, Revisited" (JCGT 2017), listing 3: no branch, no
    normalisation, accurate to rounding for every direction. The tangents jump where the z component
    changes its sign, which no continuous choice on the sphere can avoid everywhere.

    Args:
        normals: [...,3], of any length but zero (a zero normal counts as +z).

    Returns:
        [...,3,3] with columns tangent, bitangent, normal.
    """
    up = torch.zeros_like(normals)
    up[..., 2] = 1.0
    length = normals.norm(dim=-1, keepdim=True)
    safe = torch.where(length > 0, normals, up)
    x, y, z = F.normalize(safe, dim=-1, eps=0.0).unbind(-1)
    sign = torch.where(z >= 0, 1.0, -1.0).to(z.dtype)
    a = -1.0 / (sign + z)
    b = x * y * a
    tangent = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], dim=-1)
    bitangent = torch.stack([b, sign + y * y * a, -y], dim=-1)
    return torch.stack([tangent, bitangent, torch.stack([x, y, z], dim=-1)], dim=-1)


def quats_from_normals(normals: Tensor) -> Tensor:
    """Unit quaternions ``wxyz`` (w >= 0) that turn the own z axis onto the normal.

    Args:
        normals: [...,3], of any length but zero.

    Returns:
        [...,4]; own x and y span the tangent plane as in ``frames_from_normals``.
    """
    return matrix_to_quat(frames_from_normals(normals))

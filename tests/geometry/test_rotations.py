from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from miner.geometry.rotations import (
    canonical_sign,
    frames_from_normals,
    matrix_to_quat,
    quat_to_matrix,
    quats_from_normals,
    with_largest_w,
)

component = st.floats(-1.0, 1.0, allow_subnormal=False)


def _vector(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


quats = (
    st.tuples(component, component, component, component)
    .filter(lambda q: math.hypot(*q) > 1e-3)
    .map(_vector)
)
normals = (
    st.tuples(component, component, component).filter(lambda n: math.hypot(*n) > 1e-3).map(_vector)
)


@settings(deadline=None)  # timings are no property
@given(quats)
def test_matrices_of_quaternions_are_proper_rotations(quat: Tensor) -> None:
    """Any quaternion but zero gives an orthonormal, right-handed matrix."""
    matrix = quat_to_matrix(quat)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(matrix).item() == pytest.approx(1.0)


@settings(deadline=None)  # timings are no property
@given(quats)
def test_quaternion_survives_the_way_to_a_matrix_and_back(quat: Tensor) -> None:
    """matrix_to_quat undoes quat_to_matrix up to length and sign."""
    back = matrix_to_quat(quat_to_matrix(quat))
    unit = quat / quat.norm()
    assert abs((back @ unit).item()) == pytest.approx(1.0, abs=1e-12)
    assert back[0].item() >= 0.0


@settings(deadline=None)  # timings are no property
@given(quats, quats)
def test_matrices_multiply_as_quaternions_do(first: Tensor, second: Tensor) -> None:
    """Rotation matrices of Hamilton products are products of rotation matrices."""
    w, x, y, z = first.tolist()
    left = _vector((w, -x, -y, -z, x, w, -z, y, y, z, w, -x, z, -y, x, w)).reshape(4, 4)
    torch.testing.assert_close(
        quat_to_matrix(left @ second), quat_to_matrix(first) @ quat_to_matrix(second)
    )


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    """The convention is wxyz, own axes to scene, counter-clockwise."""
    quat = torch.tensor([math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)])
    turned = quat_to_matrix(quat) @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_one_quaternion(axis: int) -> None:
    """Where w is zero the first other component is positive."""
    matrix = -torch.eye(3)
    matrix[axis, axis] = 1.0
    expected = torch.zeros(4)
    expected[1 + axis] = 1.0
    torch.testing.assert_close(matrix_to_quat(matrix), expected)


@settings(deadline=None)  # timings are no property
@given(quats)
def test_canonical_sign_forgets_the_sign(quat: Tensor) -> None:
    """A quaternion and its negative, which are one rotation, become the same numbers."""
    assert torch.equal(canonical_sign(quat), canonical_sign(-quat))


@settings(deadline=None)  # timings are no property
@given(normals)
def test_frames_stand_on_their_normals(normal: Tensor) -> None:
    """The third axis is the unit normal, and the frame is orthonormal and right-handed."""
    frame = frames_from_normals(normal)
    torch.testing.assert_close(frame[:, 2], normal / normal.norm())
    torch.testing.assert_close(frame.T @ frame, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(frame).item() == pytest.approx(1.0)


@settings(deadline=None)  # timings are no property
@given(normals)
def test_quaternions_of_normals_turn_own_z_onto_them(normal: Tensor) -> None:
    """Rotating (0,0,1) by the quaternion gives the unit normal; w is not negative."""
    quat = quats_from_normals(normal)
    torch.testing.assert_close(quat_to_matrix(quat)[:, 2], normal / normal.norm())
    assert quat[0].item() >= 0.0
    assert quat.norm().item() == pytest.approx(1.0)


def test_degenerate_input_stays_finite() -> None:
    """Zero quaternions turn nothing, zero normals count as +z, straight down has an exact frame."""
    assert torch.equal(quat_to_matrix(torch.zeros(4)), torch.eye(3))
    down = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [-0.0, 0.0, -1e-15]])
    axes = quat_to_matrix(quats_from_normals(down))[..., 2]
    torch.testing.assert_close(axes, torch.tensor([[0.0, 0, 1], [0, 0, -1], [0, 0, -1]]))


def test_gradients_are_right() -> None:
    """Both directions are differentiable: autograd agrees with finite differences."""
    generator = torch.Generator().manual_seed(0)
    quat = torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_()
    normal = torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(quat_to_matrix, (quat,))
    assert torch.autograd.gradcheck(quats_from_normals, (normal,))


@given(quats)
def test_half_turns_about_own_axes_leave_an_ellipsoid_as_it_is(quat: Tensor) -> None:
    """The rotation with the largest w shows the same ellipsoid and stays away from w = 0."""
    unit = torch.nn.functional.normalize(quat, dim=-1)
    best = with_largest_w(unit)
    shape = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=quat.dtype))
    before, after = (quat_to_matrix(q) for q in (unit, best))

    assert best[0] >= 0.5 - 1e-6
    torch.testing.assert_close(
        after @ shape @ after.mT, before @ shape @ before.mT, rtol=0, atol=1e-5
    )

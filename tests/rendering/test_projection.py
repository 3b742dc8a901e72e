from __future__ import annotations

import pytest
import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.rendering.projection import Footprints, project


def _scene(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(count, 3, generator=generator)
    quats = torch.randn(count, 4, generator=generator)
    scales = torch.exp(torch.randn(count, 3, generator=generator) - 3.0)
    opacities = torch.rand(count, generator=generator)
    return means, quats, scales, opacities, torch.rand(count, 3, generator=generator)


def test_footprints_match_gsplats_reference() -> None:
    """Centres, conics and depth order are those of gsplat's own torch reference, in float32.

    Conics of footprints of a pixel or less reach 3 per px^2: 1e-4 of that is rounding.
    """
    peer = pytest.importorskip("gsplat.cuda._torch_impl")
    means, quats, scales, opacities, colors = _scene(500)
    camera = Camera.orbit(40.0, 15.0, 2.5, 49.1, 96)
    covariances, _ = peer._quat_scale_to_covar_preci(quats, scales, True, False)
    _, means2d, depths, conics, _ = peer._fully_fused_projection(
        means, covariances, camera.world_to_cam.float()[None], camera.K.float()[None], 96, 96
    )
    ours = project(means, quats, scales, opacities, colors, camera)
    assert len(ours) > 100
    torch.testing.assert_close(ours.means2d, means2d[0, ours.order], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(ours.conics, conics[0, ours.order], atol=1e-4, rtol=1e-3)
    sorted_depths = depths[0, ours.order]
    assert (sorted_depths.diff() >= -1e-6).all()


def _alpha(footprints: Footprints, offset: Tensor) -> Tensor:
    a, b, c = footprints.conics.unbind(-1)
    x, y = offset.unbind(-1)
    return footprints.opacities * torch.exp(-0.5 * (a * x * x + 2 * b * x * y + c * y * y))


def test_extents_are_the_box_of_the_visible_ellipse() -> None:
    """On the box's sides the largest alpha is 1/255: nothing is cut, and nothing is to spare."""
    footprints = project(*_scene(300), Camera.orbit(0.0, 0.0, 2.5, 49.1, 64))
    a, b, c = footprints.conics.unbind(-1)
    x, y = footprints.extents.unbind(-1)
    right = torch.stack([x, -b * x / c], dim=-1)  # where alpha is largest on that side
    top = torch.stack([-b * y / a, y], dim=-1)
    for offset in (right, top):
        expected = torch.full_like(x, 1 / 255)
        torch.testing.assert_close(_alpha(footprints, offset), expected, rtol=2e-2, atol=0)


def test_what_cannot_be_seen_is_dropped() -> None:
    """Behind, nearer than the near plane, too clear, off the picture: no footprint."""
    camera = Camera.orbit(0.0, 0.0, 2.0, 49.1, 32)
    means = torch.tensor([[0.0, 0, 0], [0, 0, 3], [0, 0, 1.995], [0, 0, 0], [9, 0, 0]])
    opacities = torch.tensor([0.5, 0.5, 0.5, 0.003, 0.5])
    rest = torch.eye(1, 4).expand(5, 4), torch.full((5, 3), 0.01), opacities, torch.ones(5, 3)
    assert project(means, *rest, camera).order.tolist() == [0]


def test_long_thin_footprints_keep_their_digits() -> None:
    """A needle thousands of pixels long has a positive definite conic in float32.

    Against float64 to 1e-3: the naive determinant has no correct digit left here.
    """
    camera = Camera.orbit(0.0, 0.0, 2.0, 49.1, 512)
    means, opacities, colors = torch.zeros(1, 3), torch.ones(1), torch.ones(1, 3)
    quats, scales = torch.tensor([[0.9, 0.1, 0.2, 0.4]]), torch.tensor([[20.0, 1e-3, 1e-3]])
    scene = (means, quats, scales, opacities, colors)
    single = project(*scene, camera).conics.double()
    double = project(*(tensor.double() for tensor in scene), camera).conics
    torch.testing.assert_close(single, double, rtol=1e-3, atol=0)
    a, b, c = double.unbind(-1)
    assert (a * c - b * b > 0).all()

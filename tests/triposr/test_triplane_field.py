"""The folded field against the plain query, which applies the whole decoder to every point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from miner.triposr import TripoSR
from miner.triposr import field as field_module
from miner.triposr.field import Field
from miner.triposr.triplane import sample_planes, sum_of_planes


@pytest.fixture(scope="module")
def codes(expected: dict[str, Tensor]) -> Tensor:
    return expected["scene_codes"][0]


@pytest.mark.parametrize("count", [0, 1, field_module.CHUNK_CPU + 1])
@torch.no_grad()
def test_folding_changes_nothing(reference: TripoSR, codes: Tensor, count: int) -> None:
    """Density and colour equal the plain query's for any number of points, to 1e-5 of each value.

    A sum in another order costs a few float32 roundings of the raw value, of size up to 16; behind
    the exponential that is this relative error.
    """
    generator = torch.Generator().manual_seed(count)
    xyz = (torch.rand(count, 3, generator=generator) * 2 - 1) * reference.radius
    field: Field = reference.field(codes)

    density, color = field.query(xyz)

    slow_density, slow_color = reference.query(codes, xyz)
    assert density.shape == (count, 1)
    assert color.shape == (count, 3)
    assert torch.allclose(density, slow_density, rtol=1e-5, atol=0)
    assert torch.allclose(color, slow_color, rtol=0, atol=1e-5)
    assert torch.equal(field.density(xyz), density)


def test_field_describes_itself(reference: TripoSR, codes: Tensor) -> None:
    """The field knows its radius and its device."""
    field = reference.field(codes)

    assert field.radius == 0.87
    assert field.device == codes.device


def test_gradients_agree(reference: TripoSR, codes: Tensor) -> None:
    """Normals from the folded field are the plain query's, even for codes of inference mode.

    The tolerance is float32 rounding over the typical size of the gradient.
    """
    with torch.inference_mode():
        frozen = codes.clone()
    xyz = ((torch.rand(500, 3) * 2 - 1) * 0.9).requires_grad_()

    (fast,) = torch.autograd.grad(reference.field(frozen).density(xyz).log().sum(), xyz)
    (slow,) = torch.autograd.grad(reference.query(codes, xyz)[0].log().sum(), xyz)

    assert float((fast - slow).abs().max() / slow.std()) < 1e-4


def test_sum_of_planes_is_three_samples() -> None:
    """The table look-up equals three bilinear samples, on borders and outside the box too."""
    generator = torch.Generator().manual_seed(5)
    planes = torch.randn(3, 4, 6, 6, generator=generator)
    edge = torch.tensor([[-1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [5 / 6, -5 / 6, 0.5], [9.0, 0.0, -9.0]])
    points = torch.cat([torch.rand(200, 3, generator=generator) * 2.6 - 1.3, edge])

    fast = sum_of_planes(planes.permute(0, 2, 3, 1).contiguous(), points)

    slow = sample_planes(planes[None], points[None])[0].sum(dim=0).T
    assert torch.allclose(fast, slow, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30])
def test_points_that_are_nowhere_are_empty_space(value: float) -> None:
    """A point that is not finite, or far away, reads zeros and nothing out of bounds."""
    planes = torch.ones(3, 4, 4, 2)

    assert torch.equal(sum_of_planes(planes, torch.full((1, 3), value)), torch.zeros(1, 2))


def test_planes_are_read_along_the_right_axes() -> None:
    """Each plane's columns follow the first of its axes and its rows the second."""
    ramp = (torch.arange(8) + 0.5) / 4 - 1  # texel centres in plane coordinates
    columns, rows = ramp.expand(8, 8), ramp[:, None].expand(8, 8)
    planes = torch.stack([columns, rows]).expand(3, 2, 8, 8)[None]
    point = torch.tensor([[[0.1, -0.3, 0.6]]])

    sampled = sample_planes(planes, point)[0, :, :, 0]

    wanted = torch.tensor([[0.1, -0.3], [0.1, 0.6], [-0.3, 0.6]])
    assert torch.allclose(sampled, wanted, atol=1e-6)

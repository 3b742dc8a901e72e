"""Every stage against the reference implementation, number by number.

Tolerance: 1e-4 of the standard deviation of the reference's numbers, for the largest difference.
Behind the exponential one density is 32 deviations large, where that tolerance is three units in
the last place of the raw value. So the chained stages are compared before the exponential, and the
activated density from the reference's own codes. (On x86 with AVX-512 all stages agree to the bit.)
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from miner.geometry.cameras import Camera
from miner.triposr import TripoSR
from miner.triposr.image_tokens import resize_positions

TOLERANCE = 1e-4


def difference(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, in standard deviations of the reference."""
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.std())


@pytest.fixture(scope="module")
def codes(reference: TripoSR, expected: dict[str, Tensor]) -> Tensor:
    rgb = expected["composited_rgb_uint8"][None].float() / 255
    with torch.no_grad():
        return reference.encode(rgb)


@torch.no_grad()
def test_conditioning_image(reference: TripoSR, expected: dict[str, Tensor]) -> None:
    """The composited cut-out is resized as the reference resizes it."""
    rgb = expected["composited_rgb_uint8"][None].float() / 255

    assert difference(reference.condition(rgb), expected["conditioning_image"]) < TOLERANCE


@torch.no_grad()
def test_image_tokens(reference: TripoSR, expected: dict[str, Tensor]) -> None:
    """The image tokenizer, its interpolated positions included, gives the reference's tokens."""
    tokens = reference.image_tokenizer(expected["conditioning_image"])

    assert difference(tokens, expected["image_tokens"]) < TOLERANCE


@torch.no_grad()
def test_backbone(reference: TripoSR, expected: dict[str, Tensor]) -> None:
    """The backbone gives the reference's triplane tokens."""
    out = reference.backbone(reference.tokenizer(1), expected["image_tokens"])

    assert difference(out, expected["backbone_out"]) < TOLERANCE


def test_scene_codes(codes: Tensor, expected: dict[str, Tensor]) -> None:
    """From picture to scene codes, all stages chained."""
    assert difference(codes, expected["scene_codes"]) < TOLERANCE


@torch.no_grad()
def test_query(reference: TripoSR, codes: Tensor, expected: dict[str, Tensor]) -> None:
    """Raw density and colour at random points, from our own codes."""
    raw, _ = reference.decode_points(codes, expected["query_points"][None])
    _, color = reference.query(codes[0], expected["query_points"])

    assert difference(raw[0], expected["query_density_raw"]) < TOLERANCE
    assert difference(color, expected["query_color"]) < TOLERANCE


@torch.no_grad()
def test_density(reference: TripoSR, expected: dict[str, Tensor]) -> None:
    """Activated density at random points and on a grid, from the reference's codes."""
    codes = expected["scene_codes"][0]
    axis = torch.linspace(-0.87, 0.87, 32)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)

    at_points, _ = reference.query(codes, expected["query_points"])
    on_grid, _ = reference.query(codes, grid)

    assert difference(at_points, expected["query_density"]) < TOLERANCE
    assert difference(on_grid.reshape(32, 32, 32), expected["density_grid_32"]) < TOLERANCE


@pytest.mark.parametrize(("view", "azimuth_deg"), [(0, 0.0), (1, 180.0)])
def test_rendered_views(
    reference: TripoSR, codes: Tensor, expected: dict[str, Tensor], view: int, azimuth_deg: float
) -> None:
    """Front and back by volume rendering, through a camera of the scene frame."""
    camera = Camera.orbit(azimuth_deg, 0.0, 1.9, 40.0, 48)

    picture = reference.render(codes[0], camera)

    assert difference(picture, expected["render_2views_48px"][view]) < TOLERANCE


def test_position_embeddings_keep_the_old_sampling() -> None:
    """Positions are resampled by the factor (n + 0.1) / grid: a slow bicubic kernel agrees.

    Weights are the cubic convolution with a = -0.75, borders repeat; 1e-5 is float32 rounding.
    """
    generator = torch.Generator().manual_seed(1)
    positions = torch.randn(1, 1 + 3 * 3, 1, generator=generator)

    resized = resize_positions(positions, 3, 5, 4)

    square = positions[0, 1:, 0].double().reshape(3, 3)
    rows, columns = _cubic_matrix(3, 5), _cubic_matrix(3, 4)
    slow = (rows @ square @ columns.T).flatten()
    assert torch.equal(resized[:, :1], positions[:, :1])
    assert torch.allclose(resized[0, 1:, 0].double(), slow, atol=1e-5)
    assert resize_positions(positions, 3, 3, 3) is positions


def _cubic_matrix(size: int, out: int) -> Tensor:
    """[out,size] weights of cubic convolution at the published positions."""
    matrix = torch.zeros(out, size, dtype=torch.float64)
    for target in range(out):
        at = (target + 0.5) * size / (out + 0.1) - 0.5
        base = int(at // 1)
        for tap in range(base - 1, base + 3):
            d, a = abs(at - tap), -0.75
            near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[target, min(max(tap, 0), size - 1)] += near if d <= 1 else far
    return matrix

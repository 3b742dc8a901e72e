"""Layers with one byte a weight: how near they are, in which types, and what they take."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from miner.gpu.row_scaled import INT8_LARGEST, STORED, RowScaledLinear, round_rows

CPU = torch.device("cpu")
DEVIATIONS = [0.002, 0.005, 0.01, 0.02, 0.05]
BOUND = {"int8": 0.01, "fp8": 0.03}
"""Root of the mean squared error over that of the weights: for int8 the rounding of a range of
about four deviations to 254 steps, for e4m3 that of three bits of mantissa."""


def weights(deviation: float, rows: int = 512, columns: int = 1024) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)) * deviation


def linear(weight: torch.Tensor, bias: bool = True) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    made.weight.data = weight
    return made


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize("precision", BOUND)
def test_weights_are_near_whatever_their_deviation(precision: str, deviation: float) -> None:
    """int8 stays below 1 % of the weights, e4m3 below 3 %."""
    weight = weights(deviation)
    layer = RowScaledLinear.of(linear(weight), precision, CPU)

    assert error(layer.widened(torch.float32), weight) < BOUND[precision]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_results_are_near_in_every_type_computed_in(dtype: torch.dtype, deviation: float) -> None:
    """Of int8, beside the same layer in that type: below 1 %, and the type is the input's."""
    exact = linear(weights(deviation))
    x = torch.randn(8, 1024, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = exact(x)
        found = RowScaledLinear.of(exact.to(dtype), "int8", CPU)(x.to(dtype))

    assert found.dtype == dtype
    assert error(found.float(), wanted) < 0.01


def test_a_large_result_does_not_overflow_in_fp16() -> None:
    """Products with the stored integers would pass 65504, products with the weights do not."""
    exact = linear(torch.full((4, 1024), 0.01), bias=False)
    layer = RowScaledLinear.of(exact, "int8", CPU)
    x = torch.full((1, 1024), 100.0, dtype=torch.float16)

    assert float(x.float().sum() * INT8_LARGEST) > 65504
    assert torch.allclose(layer(x).float(), torch.full((1, 4), 1024.0), rtol=0.01)


@pytest.mark.parametrize("precision", STORED)
def test_rows_of_any_size_are_rounded(precision: str) -> None:
    """A row of zeros stays zero, a tiny row and a huge one keep their shares."""
    weight = torch.tensor([[0.0, 0.0], [1e-20, -2e-20], [3e20, -1e20], [1.0, -1.0]])
    stored, scale = round_rows(weight, STORED[precision])
    found = stored.float() * scale[:, None]

    assert torch.isfinite(scale).all()
    assert torch.allclose(found, weight, rtol=0.07)
    assert (found[0] == 0).all()


def test_scales_lose_nothing_in_bfloat16() -> None:
    """They are representable there, and never so small that the largest weight is cut off."""
    weight = weights(0.013)
    stored, scale = round_rows(weight, torch.int8)

    assert torch.equal(scale, scale.to(torch.bfloat16).float())
    assert (scale * INT8_LARGEST >= weight.abs().amax(1)).all()
    assert int(stored.abs().max()) <= INT8_LARGEST

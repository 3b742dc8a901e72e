"""Splats for the codecs' tests: real files where they are at hand, drawn ones everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from miner.geometry.gaussians import SH_REST_COUNTS, Gaussians

HUGE = float(np.float32(3e38))
REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "splats"


def reference(name: str) -> Path:
    """A real asset, or a skip that says what is missing."""
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"the reference asset {name} is not beside this checkout")
    return path


def plausible(n: int, degree: int = 0, seed: int = 0) -> Gaussians:
    """A splat of ordinary numbers, all within the range of every format."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    return Gaussians(
        means=normal(n, 3, scale=0.3),
        log_scales=normal(n, 3, scale=0.5) - np.float32(5),
        quats=normal(n, 4),
        opacity_logits=normal(n, scale=2.0),
        sh_dc=normal(n, 3, scale=0.7),
        sh_rest=np.clip(normal(n, SH_REST_COUNTS[degree], 3, scale=0.3), -0.9, 0.9),
    )


@st.composite
def finite_gaussians(draw: st.DrawFn, reach: float = HUGE) -> Gaussians:
    """Any splat that a file may hold: finite, but for opacity logits; rotations of some length."""
    n, degree = draw(st.integers(1, 12)), draw(st.integers(0, 3))

    def floats(*shape: int, low: float = -HUGE, high: float = HUGE) -> np.ndarray:
        element = st.floats(low, high, width=32, allow_nan=False)
        return draw(hnp.arrays(np.float32, shape, elements=element))

    quats = floats(n, 4)
    quats[:, draw(st.integers(0, 3))] += np.float32(1)
    quats[~quats.any(axis=1)] = 1
    logits = st.floats(width=32, allow_nan=False, allow_infinity=True)
    return Gaussians(
        means=floats(n, 3, low=-reach, high=reach),
        log_scales=floats(n, 3),
        quats=quats,
        opacity_logits=draw(hnp.arrays(np.float32, n, elements=logits)),
        sh_dc=floats(n, 3),
        sh_rest=floats(n, SH_REST_COUNTS[degree], 3),
    )


def assert_same(one: Gaussians, other: Gaussians) -> None:
    """Bit for bit, attribute by attribute."""
    for name in ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)

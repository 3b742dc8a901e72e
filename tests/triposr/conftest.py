"""The small reference model, with what the reference implementation made of it stage by stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
from torch import Tensor

from miner.triposr import TripoSR

DATA = Path(__file__).parent.parent / "data" / "triposr-small"


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Published layout, small sizes, random weights."""
    return DATA


@pytest.fixture(scope="session")
def expected() -> dict[str, Tensor]:
    """The reference implementation's tensors, float32, in pipeline order."""
    return safetensors.torch.load_file(DATA / "expected.safetensors")


@pytest.fixture(scope="session")
def reference() -> TripoSR:
    """The reference model in ours; tests must not change it."""
    return TripoSR.load(DATA)

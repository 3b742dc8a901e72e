"""Real assets of the subnet, where the reference data lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miner.encoder import ply, spz
from miner.geometry.cameras import Camera
from miner.geometry.placement import normalize_longest_side
from miner.rendering.metrics import psnr
from miner.rendering.rasterize import render

SPLATS = Path(__file__).parents[3] / "shared" / "reference" / "splats"


def _bytes(name: str) -> bytes:
    path = SPLATS / name
    if not path.is_file():
        pytest.skip(f"reference data {name} is not at ../shared/reference/splats")
    return path.read_bytes()


def test_hamburger_reproduces_the_golden_picture() -> None:
    """The subnet's own picture of this file is reproduced: camera, scaling, blending, colours.

    30 dB would do; it comes to about 63 dB (8-bit rounding alone is 59 dB where nothing is white),
    and 50 dB leaves no room for a wrong convention.
    """
    splat = normalize_longest_side(ply.decode(_bytes("hamburger.ply")), 1.0)
    with Image.open(SPLATS / "test_render_ply.png") as picture:
        golden = torch.from_numpy(np.array(picture.convert("RGB"))) / 255.0
    image, _ = render(splat, Camera.orbit(45.0, 0.0, 3.0, 49.1, 1080))
    assert psnr(image, golden) > 50.0


def test_robocop_stands_upright_and_faces_the_front() -> None:
    """From the front the red visor is in the top quarter, the spread feet are at the bottom."""
    splat = normalize_longest_side(spz.decode(_bytes("robocop.spz")))
    assert len(splat) == 267_776
    image, alpha = render(splat, Camera.orbit(0.0, 0.0, 2.5, 49.1, 128))
    covered = alpha[..., 0] > 0.5
    rows = torch.nonzero(covered.any(dim=1)).squeeze(1)
    top, height = rows[0].item(), len(rows)
    red = covered & (image[..., 0] > 0.4) & (image[..., 1:].amax(dim=-1) < 0.3)
    red_rows = torch.nonzero(red)[:, 0].double()
    assert len(red_rows) > 5
    assert red_rows.median().item() < top + 0.25 * height
    head = torch.nonzero(covered[top + height // 12])
    feet = torch.nonzero(covered[top + height - 4])
    assert (feet.max() - feet.min()) > 2 * (head.max() - head.min())

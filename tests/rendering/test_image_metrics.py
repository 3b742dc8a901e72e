from __future__ import annotations

import math

import pytest
import torch

from miner.rendering.metrics import psnr, silhouette_iou


def test_psnr_of_a_known_error() -> None:
    """An error of 0.1 everywhere is 20 dB."""
    image = torch.full((4, 5, 3), 0.5)
    assert psnr(image, image + 0.1) == pytest.approx(20.0, abs=1e-4)


def test_psnr_of_equal_pictures_is_infinite() -> None:
    """No error, or no pixel to compare, is infinity rather than a division by zero."""
    image = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(0))
    assert psnr(image, image) == math.inf
    assert psnr(image, image + 1, mask=torch.zeros(4, 4, dtype=torch.bool)) == math.inf


def test_psnr_counts_only_the_mask() -> None:
    """Pixels outside the mask do not matter."""
    image, other = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    other[0, 0], other[1, 1] = 0.1, 1.0
    mask = torch.tensor([[True, False], [False, False]])
    assert psnr(image, other, mask) == pytest.approx(20.0, abs=1e-4)


def test_silhouette_iou_counts_covered_pixels() -> None:
    """Three pixels covered in all, one in both: a third; nothing covered at all: one."""
    ours = torch.tensor([0.9, 0.9, 0.1, 0.0])
    theirs = torch.tensor([0.8, 0.2, 0.6, 0.5])
    assert silhouette_iou(ours, theirs) == pytest.approx(1 / 3)
    assert silhouette_iou(torch.zeros(3), torch.zeros(3)) == 1.0

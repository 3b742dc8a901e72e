from __future__ import annotations

import pytest
import torch

from miner.geometry.cameras import Camera
from miner.rendering import rasterize_cuda
from miner.rendering.rasterize import rasterize, rasterize_torch

SIZE = 128


def test_without_cuda_it_is_not_available() -> None:
    """Where there is no CUDA device the answer is no, without importing or compiling anything."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert not rasterize_cuda.available()


@pytest.mark.gpu
def test_gsplat_and_plain_torch_agree() -> None:
    """On a CUDA device gsplat is chosen, and its picture and gradients are those of plain torch.

    Both work in float32 and gsplat with fast exponentials: a fragment may fall on the other side of
    a cut-off (1/255) here and there, hence a bound on the mean and a loose one on the largest.
    """
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if not rasterize_cuda.available():
        pytest.skip("gsplat is not installed or its kernels cannot be built")
    generator = torch.Generator().manual_seed(0)
    count = 2000
    scene = [
        0.4 * torch.randn(count, 3, generator=generator),
        torch.randn(count, 4, generator=generator),
        torch.exp(torch.randn(count, 3, generator=generator) * 0.5 - 4.0),
        torch.rand(count, generator=generator),
        torch.rand(count, 3, generator=generator),
    ]
    camera = Camera.orbit(30.0, 15.0, 2.5, 49.1, SIZE)
    weights = torch.randn(SIZE, SIZE, 3, generator=generator).cuda()
    results = []
    for draw in (rasterize, rasterize_torch):
        tensors = [tensor.cuda().requires_grad_() for tensor in scene]
        image, alpha = draw(*tensors, camera)
        gradients = torch.autograd.grad((image * weights).sum() + alpha.sum(), tensors)
        results.append((image, alpha, gradients))
    (image, alpha, gradients), (own_image, own_alpha, own_gradients) = results
    for ours, theirs in ((own_image, image), (own_alpha, alpha)):
        assert (ours - theirs).abs().mean().item() < 1e-4
        assert (ours - theirs).abs().max().item() < 2e-2
    for ours, theirs in zip(own_gradients, gradients, strict=True):
        assert (ours - theirs).norm().item() < 1e-2 * theirs.norm().item()

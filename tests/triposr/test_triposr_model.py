"""The network as a whole: sizes, dtypes, gradients and batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from miner.triposr import TripoSR
from miner.triposr.config import (
    BackboneConfig,
    DecoderConfig,
    RendererConfig,
    TriplaneConfig,
    TripoSRConfig,
    UpsamplerConfig,
    VitConfig,
)

POOLER = 768 * 768 + 768
"""Parameters of the published file that are never used, and which we do not build."""


def small_config() -> TripoSRConfig:
    """A relative with an overlapping upsampler and positions of the very picture's size."""
    return TripoSRConfig(
        cond_image_size=32,
        vit=VitConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            patch_size=8,
            image_size=32,
        ),
        tokenizer=TriplaneConfig(plane_size=4, num_channels=32),
        backbone=BackboneConfig(
            in_channels=32,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=1,
            cross_attention_dim=32,
            feed_forward_mult=2,
        ),
        post_processor=UpsamplerConfig(
            in_channels=32, out_channels=8, kernel_size=8, stride=4, padding=2
        ),
        decoder=DecoderConfig(in_channels=24, n_neurons=16, n_hidden_layers=2),
        renderer=RendererConfig(num_samples_per_ray=16),
    )


def test_the_published_size() -> None:
    """The default configuration has the 419.28 million parameters and 549 tensors published."""
    with torch.device("meta"):
        model = TripoSR(TripoSRConfig())

    assert sum(p.numel() for p in model.parameters()) + POOLER == 419_275_628
    assert len(model.state_dict()) + 2 == 549
    assert model.decoder.layers[18].out_features == 4


def test_training_reaches_every_parameter() -> None:
    """A random model, codes and raw values of a batch, has a gradient for each parameter."""
    torch.manual_seed(0)
    model = TripoSR(small_config())

    codes = model.encode(torch.rand(2, 32, 32, 3))
    density, color = model.decode_points(codes, torch.rand(2, 50, 3) - 0.5)
    (density.square().sum() + color.square().sum()).backward()

    assert codes.shape == (2, 3, 8, 16, 16)
    assert density.shape == (2, 50, 1)
    assert color.shape == (2, 50, 3)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_gradients_reach_the_picture_and_the_points(reference: TripoSR) -> None:
    """Encoding and querying a loaded model are differentiable in what they are given."""
    rgb = torch.rand(1, 64, 64, 3, requires_grad=True)
    xyz = (torch.rand(20, 3) - 0.5).requires_grad_()

    density, color = reference.query(reference.encode(rgb)[0], xyz)
    (density.log().sum() + color.sum()).backward()

    assert rgb.grad is not None and bool(rgb.grad.abs().sum() > 0)
    assert xyz.grad is not None and bool((xyz.grad.abs().sum(dim=1) > 0).all())


@torch.no_grad()
def test_a_batch_is_its_members() -> None:
    """Pictures encoded and decoded together give what they give alone, to float32 rounding."""
    torch.manual_seed(1)
    model = TripoSR(small_config())
    rgb, xyz = torch.rand(3, 32, 32, 3), torch.rand(3, 9, 3) - 0.5

    codes = model.encode(rgb)
    density, color = model.decode_points(codes, xyz)

    for i in range(3):
        assert torch.allclose(model.encode(rgb[i : i + 1])[0], codes[i], atol=1e-5)
        alone = model.decode_points(codes[i : i + 1], xyz[i : i + 1])
        assert torch.allclose(alone[0][0], density[i], atol=1e-5)
        assert torch.allclose(alone[1][0], color[i], atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
@torch.no_grad()
def test_half_precision(
    reference: TripoSR, reference_folder: Path, dtype: torch.dtype, tolerance: float
) -> None:
    """Half precision moves the codes by a few of its own roundings, and fields stay float32."""
    rgb = torch.rand(1, 100, 100, 3, generator=torch.Generator().manual_seed(2))
    model = TripoSR.load(reference_folder, dtype=dtype)

    codes = model.encode(rgb)
    density, color = model.field(codes[0]).query(torch.rand(64, 3) - 0.5)

    wanted = reference.encode(rgb)
    error = (codes.float() - wanted).square().mean().sqrt() / wanted.std()
    assert codes.dtype == dtype
    assert float(error) < tolerance
    assert density.dtype == color.dtype == torch.float32
    assert bool(density.isfinite().all()) and bool(color.isfinite().all())


def test_pictures_of_another_shape_are_refused(reference: TripoSR) -> None:
    """Channels first or a missing batch is the caller's mistake, and the shape is named."""
    with pytest.raises(ValueError, match=r"\[1, 3, 64, 64\], not \[B,H,W,3\]"):
        reference.encode(torch.zeros(1, 3, 64, 64))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@torch.no_grad()
def test_cuda_agrees_with_the_cpu(reference: TripoSR, reference_folder: Path) -> None:
    """The same codes and densities on CUDA; 1e-2 leaves room for TF32 in the convolutions."""
    rgb = torch.rand(1, 256, 256, 3, generator=torch.Generator().manual_seed(3))
    xyz = torch.rand(512, 3, generator=torch.Generator().manual_seed(4)) - 0.5
    model = TripoSR.load(reference_folder, device="cuda")

    codes = model.encode(rgb.cuda())
    wanted = reference.encode(rgb)
    density, color = model.field(wanted[0].cuda()).query(xyz.cuda())
    slow_density, slow_color = reference.query(wanted[0], xyz)

    assert float((codes.cpu() - wanted).abs().max() / wanted.std()) < 1e-2
    assert torch.allclose(density.cpu().log(), slow_density.log(), atol=1e-2)
    assert torch.allclose(color.cpu(), slow_color, atol=1e-2)

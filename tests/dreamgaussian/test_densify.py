from __future__ import annotations

import torch
from torch import Tensor

from miner.dreamgaussian.densify import (
    RESET_OPACITY,
    SPLIT_SHRINK,
    Stats,
    clone,
    densify,
    halve,
    observe,
    prune,
    reset_opacity,
    split,
)
from miner.dreamgaussian.params import Cloud, Training, adam
from miner.dreamgaussian.settings import DensitySettings
from miner.geometry.cameras import Camera
from miner.geometry.rotations import quat_to_matrix
from miner.rendering import fragments
from miner.rendering.projection import project
from miner.rendering.rasterize import rasterize_torch
from tests.dreamgaussian.rig import cloud, trained
from tests.rendering.dense import rasterize_dense

CAMERA = Camera.orbit(25.0, 20.0, 2.5, 49.1, 20)


def mask(count: int, *rows: int) -> Tensor:
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[list(rows)] = True
    return chosen


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_in_step(training: Training) -> None:
    lengths = {
        len(tensor)
        for part in (training.cloud, training.first, training.second)
        for tensor in part.tensors()
    }
    assert lengths == {len(training)}


def rows_of(part: Cloud) -> Tensor:
    return torch.cat([tensor.reshape(len(part), -1) for tensor in part.tensors()], dim=1)


def test_clone_adds_copies() -> None:
    """The originals stay with their moments; the copies are equal and have none."""
    training = trained(10)
    done = clone(training, mask(10, 2, 5))
    assert_in_step(done)
    assert torch.equal(rows_of(done.cloud)[:10], rows_of(training.cloud))
    assert torch.equal(rows_of(done.cloud)[10:], rows_of(training.cloud)[[2, 5]])
    assert torch.equal(rows_of(done.first)[:10], rows_of(training.first))
    assert not rows_of(done.first)[10:].any()


def test_split_draws_smaller_ones_from_the_original() -> None:
    """The original goes; its two parts are smaller, alike but for their place, and distributed as
    the original: over many splits mean and covariance are the original's.
    """
    training = trained(3)
    done = split(training, mask(3, 1), generator())
    assert_in_step(done)
    assert torch.equal(rows_of(done.first)[:2], rows_of(training.first)[[0, 2]])
    assert torch.equal(done.cloud.quats[2:], training.cloud.quats[[1, 1]])
    torch.testing.assert_close(done.cloud.scales[2:], training.cloud.scales[[1, 1]] / SPLIT_SHRINK)
    many = Training(
        *(
            part.map(lambda t: t[[1]].repeat_interleave(20_000, dim=0))
            for part in (training.cloud, training.first, training.second)
        )
    )
    places = split(many, mask(20_000, *range(20_000)), generator()).cloud.means
    axes = quat_to_matrix(training.cloud.quats[1]) * training.cloud.scales[1]
    torch.testing.assert_close(torch.cov(places.T), axes @ axes.T, rtol=0.05, atol=1e-5)


def test_split_is_the_seed_s() -> None:
    """The same seed draws the same parts."""
    rows = mask(10, 1, 4)
    one, other = (split(trained(10), rows, generator(3)) for _ in range(2))
    assert torch.equal(one.cloud.means, other.cloud.means)


def test_halving_hardly_shows() -> None:
    """Halves share the original's covariance and change a picture of opaque ones little."""
    training = trained(30)
    longest = training.cloud.log_scales.argmax(dim=1)
    done = halve(training, torch.ones(30, dtype=torch.bool))
    assert_in_step(done)
    pairs = done.cloud.means.reshape(30, 2, 3)
    torch.testing.assert_close(pairs.mean(dim=1), training.cloud.means)
    distance = (pairs[:, 1] - pairs[:, 0]).norm(dim=1)
    scales = training.cloud.scales
    torch.testing.assert_close(distance, scales.gather(1, longest[:, None])[:, 0])
    kept = done.cloud.scales[::2].gather(1, longest[:, None])[:, 0].square()
    torch.testing.assert_close(
        kept + (0.5 * distance).square(), scales.gather(1, longest[:, None])[:, 0].square()
    )


def test_prune_keeps_the_others() -> None:
    """Exactly the masked rows go, from parameters and moments."""
    training = trained(6)
    done = prune(training, mask(6, 0, 3))
    assert_in_step(done)
    for ours, theirs in ((done.cloud, training.cloud), (done.second, training.second)):
        assert torch.equal(rows_of(ours), rows_of(theirs)[[1, 2, 4, 5]])


def test_reset_lowers_opacities_only() -> None:
    """No opacity is above the ceiling, fainter ones keep theirs, the moments start anew."""
    training = trained(50)
    training.cloud.opacity_logits[:3] = -9.0
    done = reset_opacity(training)
    assert done.cloud.opacities.max() <= RESET_OPACITY + 1e-9
    assert torch.equal(done.cloud.opacity_logits[:3], training.cloud.opacity_logits[:3])
    assert not done.first.opacity_logits.any()
    assert torch.equal(done.first.means, training.first.means)
    assert torch.equal(done.cloud.means, training.cloud.means)


def test_a_round_does_what_the_published_one_does() -> None:
    """Small rows that want to move are cloned, large ones split, faint and huge ones go: against a
    reference that decides row by row.
    """
    keys = DensitySettings(densify_grad_threshold=0.5, percent_dense=0.03, max_scale_share=0.09)
    training = trained(60, seed=4)
    pull = torch.rand(60, generator=generator(), dtype=torch.float64)
    stats = Stats(pull * 2, torch.full_like(pull, 2), torch.zeros_like(pull))
    kept, cloned, parts = [], [], 0
    for row in range(60):
        size = training.cloud.scales[row].max().item()
        faint = training.cloud.opacities[row].item() < keys.prune_opacity
        if pull[row] >= 0.5 and size > keys.percent_dense * keys.extent:
            parts += 2 * (not faint and size / SPLIT_SHRINK <= keys.max_scale_share * keys.extent)
            continue
        if faint or size > keys.max_scale_share * keys.extent:
            continue
        kept.append(row)
        if pull[row] >= 0.5:
            cloned.append(row)
    assert kept and cloned and parts
    done = densify(training, stats, keys, generator())
    assert_in_step(done)
    assert len(done) == len(kept) + len(cloned) + parts
    expected = rows_of(training.cloud)[kept + cloned]
    assert torch.equal(rows_of(done.cloud)[: len(expected)], expected)


def test_nothing_is_added_beyond_the_limit() -> None:
    """With little room only those that pull hardest are cloned or split."""
    keys = DensitySettings(
        densify_grad_threshold=0.0, max_gaussians=7_003, prune_opacity=0.0, max_scale_share=1.0
    )
    training = trained(7_000)
    pull = torch.arange(7_000, dtype=torch.float64)
    stats = Stats(pull, torch.ones_like(pull), torch.zeros_like(pull))
    assert len(densify(training, stats, keys, generator())) == 7_003


def test_wide_ones_on_the_picture_go_where_asked() -> None:
    """``max_screen_px`` prunes what was seen larger, and spares what was just made."""
    keys = DensitySettings(
        densify_grad_threshold=9.0, max_screen_px=5.0, prune_opacity=0.0, max_scale_share=1.0
    )
    radius = torch.tensor([1.0, 6.0, 2.0, 7.0], dtype=torch.float64)
    stats = Stats(torch.zeros(4).double(), torch.ones(4).double(), radius)
    training = trained(4)
    done = densify(training, stats, keys, generator())
    assert torch.equal(done.cloud.means, training.cloud.means[[0, 2]])


def test_gradients_of_densified_parameters_match_the_slow_twin() -> None:
    """After clone, split, halve and prune, the gradients of all parameters, through activations
    and rasteriser, are those of the slow twin: no row was mixed up and none is shared.
    """
    training = trained(30, seed=2)
    training = clone(training, mask(30, 1, 2, 3))
    training = split(training, mask(33, 5, 31), generator())
    training = halve(training, mask(len(training), 7))
    training = prune(training, mask(len(training), 0, 10))
    # A step apart: copies on one spot have no order from front to back.
    training = adam(training, cloud(len(training), seed=8), (1e-3,) * 5)
    weights = torch.randn(20, 20, 4, generator=generator(), dtype=torch.float64)
    found = []
    for draw in (rasterize_torch, rasterize_dense):
        leaf = training.cloud.leaf()
        image, alpha = draw(
            leaf.means, leaf.quats, leaf.scales, leaf.opacities, leaf.colors, CAMERA
        )
        loss = (torch.cat([image, alpha], dim=-1) * weights).sum()
        found.append(torch.autograd.grad(loss, leaf.tensors()))
    torch.testing.assert_close(found[0], found[1], atol=1e-7, rtol=1e-7)
    assert all(gradient.any() for gradient in found[0])


def test_observed_gradient_is_that_of_the_place_on_the_picture() -> None:
    """What is told from the gradient by the centre in space agrees with the gradient by the centre
    on the picture, for Gaussians small beside their distance.
    """
    small = cloud(200, seed=3)
    small = Cloud(small.means, small.log_scales - 2.0, *small.tensors()[2:])
    weights = torch.randn(64, 64, 3, generator=generator(), dtype=torch.float64)
    camera = Camera.orbit(25.0, 20.0, 3.0, 49.1, 64)
    leaf = small.leaf()
    parts = (leaf.means, leaf.quats, leaf.scales, leaf.opacities, leaf.colors)
    footprints = project(*parts, camera)
    image, _ = fragments.blend(footprints, 64, 64)
    by_mean, by_place = torch.autograd.grad(
        (image * weights).sum(), (leaf.means, footprints.means2d)
    )
    empty = Stats(*(torch.zeros(200).double() for _ in range(3)))
    seen = observe(empty, leaf, by_mean, camera)
    expected = torch.zeros(200).double()
    expected[footprints.order] = by_place.norm(dim=-1) * 32.0
    off_middle = (seen.gradient - expected).norm() / expected.norm()
    # The part through the footprint's shape, and the skew of perspective away from the middle.
    assert off_middle < 0.08
    assert seen.seen.sum() >= 190
    assert seen.radius_px.max() > 1.0

from __future__ import annotations

import numpy as np
import torch

from miner.dreamgaussian.params import (
    Cloud,
    adam,
    append,
    begin,
    from_gaussians,
    take,
    to_gaussians,
)
from tests.dreamgaussian.rig import cloud, trained

RATES = (0.01, 0.02, 0.03, 0.04, 0.05)


def test_adam_is_torch_s() -> None:
    """Over several steps the parameters are those that torch's own Adam reaches."""
    ours = begin(cloud())
    theirs = [tensor.clone().requires_grad_() for tensor in ours.cloud.tensors()]
    groups = [{"params": [t], "lr": rate} for t, rate in zip(theirs, RATES, strict=True)]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-15, foreach=False)
    for seed in range(5):
        gradients = cloud(seed=50 + seed)
        ours = adam(ours, gradients, RATES)
        for tensor, gradient in zip(theirs, gradients.tensors(), strict=True):
            tensor.grad = gradient.clone()
        optimiser.step()
    torch.testing.assert_close(ours.cloud.tensors(), tuple(t.detach() for t in theirs))


def test_a_gradient_that_is_no_number_moves_nothing() -> None:
    """NaN and infinity count as zero, and stay in their row."""
    gradients = cloud(seed=9)
    gradients.means[3] = float("nan")
    gradients.sh_dc[4, 1] = float("inf")
    start = begin(cloud())
    moved = adam(start, gradients, RATES).cloud
    assert torch.equal(moved.means[3], start.cloud.means[3])
    assert torch.equal(moved.sh_dc[4, 1], start.cloud.sh_dc[4, 1])
    assert all(tensor.isfinite().all() for tensor in moved.tensors())
    assert (moved.means[5] != start.cloud.means[5]).all()


def test_rows_stay_together() -> None:
    """What is taken keeps its own moments; what is appended begins with none."""
    training, new = trained(10), cloud(4, seed=7)
    before = training.cloud.means.clone()
    rows = torch.tensor([7, 2, 2])
    taken = take(training, rows)
    assert torch.equal(taken.first.quats, training.first.quats[rows])
    assert torch.equal(taken.second.sh_dc, training.second.sh_dc[rows])
    joined = append(training, new)
    assert len(joined) == 14
    assert torch.equal(joined.cloud.means[10:], new.means)
    for moments in (joined.first, joined.second):
        assert all((tensor[10:] == 0).all() for tensor in moments.tensors())
        assert all((tensor[:10] != 0).any() for tensor in moments.tensors())
    assert torch.equal(training.cloud.means, before)


def test_a_splat_comes_back() -> None:
    """To Gaussians and back only the quaternions' length changes; infinite logits are cut."""
    gaussians = to_gaussians(cloud(dtype=torch.float32))
    again = to_gaussians(from_gaussians(gaussians))
    for name in ("means", "log_scales", "opacity_logits", "sh_dc"):
        np.testing.assert_array_equal(getattr(again, name), getattr(gaussians, name))
    np.testing.assert_allclose(np.linalg.norm(again.quats, axis=1), 1.0, rtol=1e-6)
    gaussians.opacity_logits[0] = np.inf
    assert from_gaussians(gaussians).opacity_logits[0] == 8.0


def test_a_leaf_has_no_past() -> None:
    """Gradients can be asked for a leaf's tensors, which share no memory with the cloud's."""
    start = cloud()
    leaf = start.leaf()
    assert isinstance(leaf, Cloud)
    assert all(tensor.requires_grad and tensor.is_leaf for tensor in leaf.tensors())
    with torch.no_grad():
        leaf.means.zero_()
    assert start.means.any()

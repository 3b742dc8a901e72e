"""The small zero123's trainer: its data, loss and folder, and what the rollback is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.dreamgaussian.guidance import Subject
from miner.dreamgaussian.guidance_zero123 import Zero123 as Guidance
from miner.dreamgaussian.poses import Pose, relative_angles
from miner.dreamgaussian.settings import GuidanceSettings
from miner.gpu.device import choose_device
from miner.mini.training import rollback, zero123, zero123_views
from miner.mini.training.dataset import UNSEEN_SHARD
from miner.mini.training.pictures import BACKGROUND
from miner.mini.training.silhouettes import iou
from miner.mini.training.zero123_model import Zero123, camera_numbers, save, scheduler


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny shard of seen pairs and one of held-out ones."""
    folder = tmp_path_factory.mktemp("views")
    for number in (0, UNSEEN_SHARD):
        zero123_views.make_shard(folder, number, count=2)
    return folder


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    """The small FLUX's VAE."""
    return AutoencoderKL.from_pretrained(zero123.VAE, dtype=torch.float32).requires_grad_(False)


def test_a_shard_holds_the_front_and_turned_views(views: Path, tmp_path: Path) -> None:
    """Every view shows something, turned ones differ from the front; the number decides it all."""
    zero123_views.make_shard(tmp_path, 0, count=2)
    first, again = np.load(views / "000000.npz"), np.load(tmp_path / "000000.npz")

    assert all(np.array_equal(first[name], again[name]) for name in first.files)
    assert first["turned"].shape == (2, zero123_views.TURNS, 64, 64, 4)
    assert (first["turned"][..., 3] > 0).any((2, 3)).all()
    assert (first["turned"] != first["front"][:, None]).any((2, 3, 4)).all()


@given(azimuth=st.floats(-180, 360), elevation=st.floats(-20, 45), front=st.floats(9, 15))
def test_training_and_use_say_a_place_in_the_same_numbers(
    azimuth: float, elevation: float, front: float
) -> None:
    """The camera's numbers in training are those that the guidance computes for the same pose."""
    trained = camera_numbers(*(torch.tensor([x]) for x in (elevation, azimuth, front)))
    used = relative_angles([Pose(azimuth, elevation, 1.9)], Pose(0.0, front, 1.9))

    torch.testing.assert_close(trained, used, atol=1e-5, rtol=0)


def test_spoiling_leaves_the_background_alone(views: Path) -> None:
    """A spoilt picture differs from the true one, but its corner is the background, exactly."""
    rgba = torch.from_numpy(np.load(views / "000000.npz")["front"])
    true = zero123.on_background(rgba)
    spoilt = zero123.spoilt(true, torch.Generator().manual_seed(0))

    assert spoilt.min() >= 0 and spoilt.max() <= 1
    assert (spoilt - true).abs().max() > 0.05
    torch.testing.assert_close(spoilt[:, :, 0, 0], torch.tensor(BACKGROUND).expand(2, 3))


def test_only_seen_pairs_are_learnt_and_new_shards_are_taken_up(
    views: Path, vae: AutoencoderKL
) -> None:
    """The shelf holds the one shard of seen pairs and none of the held-out ones, once."""
    shelf = zero123.Shelf(views, vae)

    assert shelf.refresh() == 2
    assert shelf.refresh() == 2
    assert shelf.pairs is not None
    assert shelf.pairs.clean.shape == (2, zero123.VARIANTS, 16, 8, 8)


def test_the_noise_is_learnt(views: Path, vae: AutoencoderKL) -> None:
    """Some steps lower the loss, and gradients reach the picture encoder and the linear layer."""
    torch.manual_seed(0)
    pairs = zero123.read_shard(views / "000000.npz", vae)
    model = Zero123()
    model.initialise()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    alphas, losses = scheduler().alphas_cumprod, []
    for _ in range(15):
        generator = torch.Generator().manual_seed(1)
        loss = zero123.noise_loss(model, pairs, 4, alphas, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.9 * losses[0]
    assert model.projection.weight.grad.abs().sum() > 0
    assert next(model.image_encoder.parameters()).grad.abs().sum() > 0


def test_the_folder_is_read_by_the_guidance(tmp_path: Path) -> None:
    """What is saved loads as any zero123 does, and sees the picture as it did in training."""
    torch.manual_seed(0)
    model = Zero123()
    save(model, tmp_path)
    keys = GuidanceSettings(weights="x", size_px=64, guidance_scale=2.0)
    guidance = Guidance.load(tmp_path, zero123.VAE, keys, choose_device("cpu"))
    picture = torch.rand(64, 64, 4)
    picture[..., 3] = 1.0
    reference = Pose(0.0, 12.0, 1.9)
    guidance.prepare(Subject(picture, None, reference, torch.tensor(BACKGROUND)), 0)
    poses = [Pose(90.0, 12.0, 1.9), Pose(180.0, 30.0, 1.9)]
    numbers = camera_numbers(
        *(torch.tensor(x) for x in ([12.0, 30.0], [90.0, 180.0], [12.0, 12.0]))
    )
    with torch.no_grad():
        told = model.float().token(picture[..., :3].permute(2, 0, 1).expand(2, -1, -1, -1), numbers)
    seen = guidance.imagine(poses, 2, torch.Generator().manual_seed(0))

    torch.testing.assert_close(guidance._tokens(poses), told, atol=2e-3, rtol=1e-2)
    assert seen.shape == (2, 64, 64, 3)


@settings(max_examples=30)
@given(
    x=st.integers(0, 60),
    y=st.integers(0, 60),
    width=st.integers(20, 60),
    height=st.integers(20, 60),
)
def test_where_an_object_stands_does_not_matter_but_its_size_does(
    x: int, y: int, width: int, height: int
) -> None:
    """Boxed views agree wherever the object stands; a side twice as wide as it is does not."""

    def views(left: int, top: int, side: int) -> list[np.ndarray]:
        front, turned = np.zeros((2, 128, 128), bool)
        front[top : top + height, left : left + width] = True
        turned[top : top + height, left : left + side] = True
        return rollback.boxed_views([front, turned])

    here, there = views(x, y, width), views(4, 4, width)
    wider = views(4, 4, max(width // 2, 1))

    assert all(iou(a, b) > 0.999 for a, b in zip(here, there, strict=True))
    assert iou(there[1], wider[1]) < 0.7

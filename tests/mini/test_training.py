"""The trainers: data, losses, averaging and checkpoints, each on a handful of objects."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from miner.mini.training import dataset, matting, triposr
from miner.mini.training.averaging import Average, learning_rate
from miner.mini.training.export import sharpen
from miner.mini.training.loop import Loop
from miner.mini.training.pictures import BACKGROUND, compose, masks_of
from miner.mini.training.world.draw import draw, refit
from miner.triposr.model import TripoSR


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny shards of seen pairs and one of unseen ones."""
    folder = tmp_path_factory.mktemp("data")
    before, dataset.SHARD = dataset.SHARD, 6
    for number in (0, 1, dataset.UNSEEN_SHARD):
        dataset.make_shard(folder, number)
    dataset.SHARD = before
    return folder


def test_points_carry_their_own_distances() -> None:
    """Every stored distance is the scene's distance at the stored point, to half precision."""
    rng = np.random.default_rng(2)
    drawn = refit(draw(rng))
    points, sdf, rgb = dataset.sample_points(drawn, rng)
    again = drawn.scene.distance(points.astype(np.float32))

    assert points.shape == (dataset.NEAR + dataset.UNIFORM, 3) and rgb.shape == (dataset.NEAR, 3)
    assert np.abs(again - sdf.astype(np.float32)).max() < 2e-3
    assert np.median(np.abs(sdf[: dataset.NEAR])) < 0.03


def test_a_shard_depends_on_its_number_alone(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written again elsewhere, a shard is the same shard; written twice, it is left alone."""
    monkeypatch.setattr(dataset, "SHARD", 6)
    dataset.make_shard(tmp_path, 1)
    first, again = np.load(shards / "000001.npz"), np.load(tmp_path / "000001.npz")
    stamp = (tmp_path / "000001.npz").stat().st_mtime_ns
    dataset.make_shard(tmp_path, 1)

    assert all(np.array_equal(first[name], again[name]) for name in first.files)
    assert (tmp_path / "000001.npz").stat().st_mtime_ns == stamp


def test_seen_and_unseen_shards_do_not_mix(shards: Path) -> None:
    """Loading for training never returns a shard of held-out pairs."""
    assert len(dataset.load(shards).rgba) == 12
    assert len(dataset.load(shards, unseen=True).rgba) == 6
    assert len(dataset.load(shards, skip=1).captions) == 6


def test_composed_pictures_keep_object_and_background_apart(shards: Path) -> None:
    """Outside the object a picture is the background, inside it is not; the frame sets the size."""
    data = dataset.load(shards)
    background = np.array(BACKGROUND, np.float32)
    large, small = (compose(data.rgba[0], frame, background) for frame in (0.85, 0.45))
    masks = masks_of(np.stack([large, small]))

    assert np.abs(large[0, 0] / 255 - background).max() < 0.01
    assert masks[0].sum() > 2 * masks[1].sum() > 0


def test_one_batch_is_learnt(shards: Path) -> None:
    """Some steps on one batch of objects lower both losses: gradients reach what they must."""
    torch.manual_seed(0)
    model = TripoSR(triposr.mini_config())
    triposr.initialise(model)
    generator = torch.Generator().manual_seed(0)
    batch = triposr.make_batch(dataset.load(shards), np.arange(4), 256, generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    first = [value.item() for value in triposr.loss_of(model, batch)]
    for _ in range(12):
        occupancy, color = triposr.loss_of(model, batch)
        optimizer.zero_grad()
        (occupancy + color).backward()
        optimizer.step()

    assert occupancy.item() < 0.9 * first[0]
    assert color.item() < first[1]


def test_the_field_starts_near_the_threshold() -> None:
    """The logit starts near enough to the isosurface for gradients to carry it across."""
    torch.manual_seed(1)
    model = TripoSR(triposr.mini_config())
    triposr.initialise(model)
    points = torch.rand(1, 4096, 3) * 1.7 - 0.85
    raw, _ = model.decode_points(model.encode(torch.rand(1, 64, 64, 3)), points)
    logit = raw + model.config.renderer.density_bias - math.log(triposr.THRESHOLD)

    assert logit.std() > 0.001
    assert -4 < logit.mean() < 0


def test_undegraded_pictures_are_the_composited_ones(shards: Path) -> None:
    """Conditioning pictures stay in [0,1] and lie on about the grey that TripoSR expects."""
    rgba = torch.from_numpy(dataset.load(shards).rgba)
    rgb = triposr.conditioning(rgba, torch.Generator().manual_seed(0))

    assert rgb.shape == (12, 64, 64, 3)
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert (rgb[:, 0, 0] - 0.5).abs().max() < 0.1


def test_averages_follow_and_checkpoints_resume(tmp_path: Path) -> None:
    """An average starts at the weights and moves towards them; a checkpoint restores all of it."""
    net = torch.nn.Linear(3, 3)
    average = Average(net)
    with torch.no_grad():
        net.weight.add_(1.0)
    average.update(net, 5000)
    optimizer = torch.optim.AdamW(net.parameters())
    average.save(tmp_path / "last.pt", net, optimizer, 7, 12.5)
    fresh = torch.nn.Linear(3, 3)
    other = Average(fresh)

    assert torch.allclose(net.weight - average.module.weight, torch.full((3, 3), 0.998), atol=1e-5)
    assert other.resume(tmp_path / "none.pt", fresh, optimizer) == (0, 0.0)
    assert other.resume(tmp_path / "last.pt", fresh, optimizer) == (7, 12.5)
    assert torch.equal(other.module.weight, average.module.weight)
    assert torch.equal(fresh.weight, net.weight)


def test_the_rate_warms_up_and_decays() -> None:
    """The factor rises from near nothing to one and ends at two hundredths."""
    assert learning_rate(0, 0.0) < 0.01
    assert learning_rate(1000, 0.0) == pytest.approx(1.0)
    assert learning_rate(1000, 1.0) == pytest.approx(0.02)


def test_the_matting_net_is_what_rembg_calls(tmp_path: Path) -> None:
    """Exported, the network gives the same probabilities under onnxruntime as in torch."""
    torch.manual_seed(0)
    net = matting.MattingNet(4)
    torch.save({"average": net.state_dict()}, tmp_path / "last.pt")
    x = torch.randn(1, 3, matting.INPUT, matting.INPUT)
    matting.export(tmp_path, tmp_path / "net.onnx", width=4)
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    got = session.run(None, {"picture": x.numpy()})[0]
    with torch.no_grad():
        wanted = net.eval()(x).numpy()

    assert got.shape == (1, 1, 320, 320)
    assert np.abs(got - wanted).max() < 1e-4  # two implementations of the same float32 convolutions


def test_sharpening_keeps_the_isosurface() -> None:
    """A sharpened field has the same inside and outside, and the logit grows by the factor."""
    torch.manual_seed(3)
    model = TripoSR(triposr.mini_config())
    points = torch.rand(1, 2000, 3) * 1.7 - 0.85
    codes = model.encode(torch.rand(1, 64, 64, 3))
    zero = math.log(triposr.THRESHOLD) - model.config.renderer.density_bias
    before = model.decode_points(codes, points)[0] - zero
    sharpen(model, 8.0)
    after = model.decode_points(codes, points)[0] - zero

    torch.testing.assert_close(after, 8 * before, rtol=1e-4, atol=1e-3)


def test_a_loop_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """A run writes its curve, keeps its steps and its time, and a finished one does nothing."""
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = net(torch.ones(1, 2)).abs().item()
    seconds = iter(range(1000))
    loop = Loop(
        tmp_path / "run", net, optimizer, minutes=0.5, keep_every=7, clock=lambda: next(seconds)
    )
    for _ in loop:
        loop.descend(net(torch.ones(1, 2)).square().mean())
        loop.log(1, loss=1.0)
    again = Loop(tmp_path / "run", net, optimizer, minutes=0.5)

    assert again.step == loop.step == 30
    assert list(again) == []
    assert len((tmp_path / "run" / "curve.jsonl").read_text().splitlines()) == loop.step
    assert net(torch.ones(1, 2)).abs() < before

"""The trainer of the small CLIP: its views, what it says of them, its loss, where it begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from miner.gpu.device import choose_device
from miner.mini.training import clip, dataset, views
from miner.mini.training.clip_export import export_clip
from miner.mini.training.loop import Loop
from miner.mini.training.tokenizers import clip_tokenizer
from miner.mini.training.warm_start import warm_start
from miner.mini.training.world.draw import draw
from miner.mini.training.world.kinds import NAMES as KINDS
from miner.mini.training.world.palette import NAMES as COLORS
from miner.pipeline.alignment import Alignment
from miner.pipeline.reconstruct import Reconstructor
from miner.settings import ReconstructSettings, SelfCheckSettings
from miner.triposr import TripoSR


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> clip.Examples:
    """Six painted objects and eight seen from around, the first of them as a splat."""
    folder = tmp_path_factory.mktemp("clip")
    before = dataset.SHARD, views.SHARD
    dataset.SHARD, views.SHARD = 6, 8
    settings = ReconstructSettings(weights="mini/triposr")
    reconstructor = Reconstructor.load(views.WEIGHTS / "triposr", settings, choose_device("cpu"))
    try:
        dataset.make_shard(folder, 0)
        data = dataset.load(folder)
        (folder / "views").mkdir()
        views.make_shard(folder / "views", 0, reconstructor)
    finally:
        dataset.SHARD, views.SHARD = before
    return clip.Examples(data, views.load(folder / "views"), seed=1)


def test_views_of_objects_are_as_large_as_the_scorer_sees_them() -> None:
    """An object fills about two thirds of the scorer's picture, and none of the border."""
    rng = np.random.default_rng(4)
    for _ in range(4):
        seen = views.object_views(draw(rng), [0.0, 200.0])
        alpha = seen[..., 3] > 127
        rows, columns = (np.flatnonzero(alpha.any((0, axis))) for axis in (2, 1))
        longest = max(np.ptp(rows), np.ptp(columns)) / views.SIZE

        assert 0.4 < longest < 0.9
        assert not alpha[:, 0].any() and not alpha[:, :, -1].any()
        assert (seen[..., :3].max(-1) <= seen[..., 3]).all()  # premultiplied


def test_pictures_come_with_their_own_rows(examples: clip.Examples) -> None:
    """Painted pictures and views are mixed as asked, each in [0,1], rows of both kinds."""
    rows, pictures = examples.pick(20, np.random.default_rng(1))

    assert pictures.shape == (20, 3, 64, 64)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    assert (rows < 6).sum() == 20 * clip.PAINTED
    assert len(examples.captions) == len(examples.kinds) == 14


def test_wrong_sayings_are_nearly_right_and_never_held_out(examples: clip.Examples) -> None:
    """The first wrong text changes the colour alone, the second the kind alone."""
    rng = np.random.default_rng(2)
    rows, _ = examples.pick(30, rng)
    texts, pairs = clip.sayings(examples, rows, rng)
    kinds, colors = np.divmod(pairs.reshape(3, 30), len(COLORS))

    assert len(texts) == 90
    assert (kinds[0] == kinds[1]).all() and (colors[0] != colors[1]).all()
    assert (kinds[0] != kinds[2]).all() and (colors[0] == colors[2]).all()
    assert clip.PAIRS[kinds, colors].all()
    assert clip.PAIRS.sum() == len(KINDS) * (len(COLORS) - 1)


def test_equal_pairs_are_not_held_against_each_other() -> None:
    """Two pictures of one pair: each other's texts count neither as right nor as wrong."""
    vectors = torch.eye(4)[[0, 0, 1]]
    scale = torch.tensor(3.0)
    pairs = np.array([7, 7, 9])

    loss, first = clip.contrast(vectors, vectors, pairs, scale)
    held_against, _ = clip.contrast(vectors, vectors, np.array([7, 8, 9]), scale)

    assert float(first) == 1.0
    assert float(loss) < 1e-6 < float(held_against)


def test_training_begins_where_the_shipped_networks_ended() -> None:
    """A ViT's tokens before any layer are TripoSR's own, but for the first normalisation."""
    model = warm_start()
    tokenizer = TripoSR.load(views.WEIGHTS / "triposr").image_tokenizer.model
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours = model.vision_model.embeddings(pixels)
        theirs = tokenizer.embeddings(pixels)

    assert torch.allclose(ours, theirs, atol=1e-5)


def test_one_batch_is_learnt_and_exported(examples: clip.Examples, tmp_path: Path) -> None:
    """Some steps on one batch lower the loss; the export says the same through the self-check."""
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    model, tokenizer = warm_start(), clip_tokenizer()
    clip.freeze(model, 2)
    frozen = model.vision_model.encoder.layers[0].mlp.fc1.weight.clone()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    loop = Loop(tmp_path, model, optimizer, 1.0, clock=iter(range(0, 1000, 2)).__next__)
    rows, pictures = examples.pick(12, rng)
    said, pairs = clip.sayings(examples, rows, rng)
    tokens = dict(tokenizer([text.lower() for text in said], padding=True, return_tensors="pt"))
    losses = []
    for _ in loop:
        seen, told = clip.features(model, pictures, tokens)
        loss, _ = clip.contrast(seen, told, pairs, model.logit_scale)
        loop.descend(loss)
        losses.append(loss.item())
    export_clip(tmp_path, tmp_path / "clip")
    settings = SelfCheckSettings(mode="report", weights="w", lowercase=True)
    shipped = Alignment.load(tmp_path / "clip", settings, choose_device("cpu"))
    with torch.no_grad():
        mine = clip.features(loop.average.module, pictures, tokens)

    assert losses[-1] < losses[0] - 0.3
    assert torch.equal(model.vision_model.encoder.layers[0].mlp.fc1.weight, frozen)
    assert torch.allclose(shipped.of_views(pictures), mine[0], atol=0.02)  # half precision
    assert torch.allclose(shipped.of_text(said[0].upper()), mine[1][:1], atol=0.02)

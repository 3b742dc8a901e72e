"""The self-check: its views, its cosines, its formula, and its place in the pipeline."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from miner.errors import StageError, WeightsError
from miner.geometry.cameras import scorer_cameras
from miner.gpu.device import choose_device
from miner.pipeline.alignment import Alignment, pooled, without_outliers
from miner.pipeline.pipeline import Pipeline
from miner.pipeline.scorer_views import chosen_cameras, look_at, thinned
from miner.pipeline.selfcheck import STAGE, SelfCheck, estimated_score
from miner.settings import SelfCheckSettings, load_settings
from tests.pipeline.tiny import write_preset
from tests.pipeline.tiny_clip import ball, write_clip

CPU = choose_device("cpu")
cosines = st.lists(st.floats(-1, 1), min_size=1, max_size=16).map(np.array)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny CLIP."""
    return write_clip(tmp_path_factory.mktemp("clip"))


def settings(folder: Path | str = "w", **keys: object) -> SelfCheckSettings:
    return SelfCheckSettings(
        **{"mode": "report", "weights": str(folder), "views": 4, "size_px": 40, **keys}
    )


# Views


def test_all_views_are_the_scorers() -> None:
    """Sixteen views are the scorer's own, the doubled one included."""
    ours, theirs = chosen_cameras(16, 64), scorer_cameras(64)

    assert len(ours) == 16
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.cam_to_world, other.cam_to_world)


@pytest.mark.parametrize("views", range(1, 16))
def test_few_views_are_different_ones_of_the_scorers(views: int) -> None:
    """A choice begins at the front, holds no place twice, and leaves no gap twice another's."""
    every = [tuple(camera.position.tolist()) for camera in scorer_cameras(64)]
    chosen = [every.index(tuple(c.position.tolist())) for c in chosen_cameras(views, 64)]
    gaps = np.diff([*chosen, chosen[0] + 15])

    assert chosen[0] == 0
    assert len(set(chosen)) == views
    assert gaps.max() <= gaps.min() + 1


def test_thinned_splats_look_the_same_from_afar() -> None:
    """A fifth of the Gaussians covers the same outline in the same colour."""
    cameras = chosen_cameras(2, 64)
    whole = look_at(ball(10_000), cameras, torch.device("cpu"))
    few = look_at(thinned(ball(10_000), 2_000), cameras, torch.device("cpu"))

    assert len(thinned(ball(10_000), 2_000)) == 2_000
    assert float((whole - few).abs().mean()) < 0.02


def test_small_splats_are_left_as_they_are() -> None:
    """Nothing is thinned below the limit, nor without one."""
    splat = ball(100)

    assert thinned(splat, 100) is splat
    assert thinned(splat, 0) is splat


# Cosines


@given(cosines)
def test_the_pooled_cosine_lies_among_the_cosines(values: NDArray[np.float64]) -> None:
    """The geometric mean is between the least and the greatest, negative ones taken as 0."""
    kept = np.clip(values, 0, 1)

    assert kept.min() - 1e-9 <= pooled(values) <= kept.max() + 1e-9


def test_the_pooled_cosine_is_the_geometric_mean() -> None:
    """Where nothing is an outlier: the square root of the product of two."""
    assert pooled(np.array([0.2, 0.8])) == pytest.approx(0.4)
    assert pooled(np.array([0.9, -0.1])) == 0.0


def test_one_strange_view_is_left_out() -> None:
    """One that lies far from all others does not count; a bad half does."""
    rest = np.array([0.30, 0.31, 0.32, 0.30, 0.33, 0.31, 0.32])

    assert len(without_outliers(np.append(rest, 0.02))) == len(rest)
    assert len(without_outliers(np.append(rest, rest - 0.28))) == 2 * len(rest)


@given(cosines)
def test_most_views_always_count(values: NDArray[np.float64]) -> None:
    """However they are spread, at least half of them are kept, and no new ones appear."""
    kept = without_outliers(values)

    assert 2 * len(kept) >= len(values)
    assert set(kept) <= set(values)


# The formula


@pytest.mark.parametrize(
    ("alignment", "score"), [(0.0, 0.0), (0.299, 0.0), (0.3, 0.66), (0.75, 0.75), (5.0, 1.0)]
)
def test_the_score_follows_the_subnets_formula(alignment: float, score: float) -> None:
    """Nothing under the least alignment; else a fifth of it, and the assumed rest; 1 at most."""
    assert estimated_score(alignment, settings()) == pytest.approx(score)


def test_a_check_needs_a_model() -> None:
    """Without weights the only mode is off."""
    assert SelfCheckSettings().mode == "off"
    with pytest.raises(ValidationError, match="weights"):
        SelfCheckSettings(mode="on")


# The model


def test_unit_vectors_of_views_texts_and_pictures(clip_folder: Path) -> None:
    """All three lie in one space, and have length 1."""
    model = Alignment.load(clip_folder, settings(), CPU)
    vectors = [
        model.of_views(torch.rand(3, 3, 48, 48)),
        model.of_text("a red ball"),
        model.of_text("long " * 100),
        model.of_picture(Image.new("RGB", (70, 40), "red")),
        model.of_picture(Image.new("RGBA", (20, 50), (255, 0, 0, 128))),
    ]

    for vector in vectors:
        assert vector.shape[1] == 16
        assert torch.allclose(vector.norm(dim=1), torch.ones(len(vector)), atol=1e-5)


def test_pictures_are_seen_as_views_are(clip_folder: Path) -> None:
    """A square picture of a view's pixels has the view's vector; what is clear is white."""
    model = Alignment.load(clip_folder, settings(), CPU)
    pixels = (np.random.default_rng(0).random((32, 32, 3)) * 255).astype(np.uint8)
    view = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    clear = Image.new("RGBA", (32, 32), (9, 9, 9, 0))

    assert torch.allclose(model.of_picture(Image.fromarray(pixels)), model.of_views(view))
    assert torch.allclose(model.of_picture(clear), model.of_views(torch.ones(1, 3, 32, 32)))


def test_the_pixel_factor_is_the_subnets_quirk(clip_folder: Path) -> None:
    """Mean and deviation are both multiplied: the same picture is seen in another way."""
    plain = Alignment.load(clip_folder, settings(), CPU)
    quirk = Alignment.load(clip_folder, settings(pixel_factor=3.0), CPU)
    x = torch.rand(1, 3, 32, 32)

    as_quirk = (x - 1.5) / 0.75  # and back to what the plain one makes the same of
    assert torch.allclose(quirk.of_views(x), plain.of_views(as_quirk * 0.25 + 0.5), atol=1e-5)


def test_letter_case(clip_folder: Path) -> None:
    """Where the tokenizer knows small letters only, capitals mean the same."""
    model = Alignment.load(clip_folder, settings(lowercase=True), CPU)

    assert torch.equal(model.of_text("A RED Ball"), model.of_text("a red ball"))


def test_a_folder_without_the_normalisation_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    """A guess at how pictures were normalised would make the cosines meaningless."""
    for path in clip_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text("{}")

    with pytest.raises(WeightsError, match="normalised"):
        Alignment.load(tmp_path, settings(), CPU)


def test_weights_published_as_a_pickle_are_read(clip_folder: Path, tmp_path: Path) -> None:
    """``pytorch_model.bin`` alone gives the same vectors as ``model.safetensors``."""
    for path in clip_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    ours, theirs = (Alignment.load(f, settings(), CPU) for f in (tmp_path, clip_folder))

    assert torch.allclose(ours.of_text("a ball"), theirs.of_text("a ball"), atol=1e-6)


def test_a_pickle_that_holds_code_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    """Nothing of it runs."""
    for path in clip_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").unlink()
    torch.save({"x": Touch(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")

    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        Alignment.load(tmp_path, settings(), CPU)
    assert not (tmp_path / "ran").exists()


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


def test_a_verdict_is_the_formula_on_the_cosines(clip_folder: Path) -> None:
    """A cosine for each view; the divisor of texts for a prompt and of pictures for a picture."""
    keys = settings(clip_folder, text_divisor=0.5, image_divisor=0.25, views=3)
    check = SelfCheck.load(clip_folder, keys, CPU)
    for asked, divisor in (("a red ball", 0.5), (Image.new("RGB", (40, 40), "red"), 0.25)):
        found = check.judge(ball(), asked)

        assert len(found.cosines) == 3
        assert found.alignment == pytest.approx(pooled(np.array(found.cosines)) / divisor)
        assert found.score == estimated_score(found.alignment, keys)
        assert check.judge(ball(), asked) == found


# In the pipeline


@pytest.fixture(scope="module")
def checked(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The tiny preset with a check that is only reported."""
    preset = write_preset(tmp_path_factory.mktemp("checked"))
    with preset.open("a") as file:
        file.write(f'[self_check]\nmode = "report"\nweights = "{clip_folder}"\nviews = 2\n')
        file.write("size_px = 32\nmax_gaussians = 2000\n")
    loaded = load_settings(str(preset), environ={})
    return Pipeline.load(loaded.preset, loaded.weights, "cpu")


def test_the_pipeline_reports_what_the_check_finds(checked: Pipeline) -> None:
    """Prompts and pictures get a verdict, timed as a stage of its own, and loaded as one."""
    painted = checked.generate(prompt="a red ball")
    pictured = checked.generate(image=painted.picture)

    for made in (painted, pictured):
        assert made.check is not None and len(made.check.cosines) == 2
        assert list(made.timings)[-1] == STAGE
        assert made.candidates == 1
    assert STAGE in checked.load_timings


def test_a_check_that_fails_costs_only_the_verdict(
    checked: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """The splat is good whatever happens to the check; the log says what did."""

    class Broken:
        def judge(self, *_: object) -> None:
            raise StageError(STAGE, "no views")

    whole, checked.checker = checked.checker, Broken()  # type: ignore[assignment]
    try:
        made = checked.generate(prompt="a red ball")
    finally:
        checked.checker = whole

    assert made.check is None
    assert len(made.gaussians) >= 7_000
    assert "no views" in caplog.text

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from miner.errors import BadOption, OutputError
from miner.geometry.cameras import scorer_cameras
from miner.geometry.gaussians import Gaussians, from_activated
from miner.geometry.placement import normalize_longest_side
from miner.rendering.rasterize import render
from miner.rendering.sheets import contact_sheet, to_image, turntable, view


@pytest.fixture(scope="module")
def splat() -> Gaussians:
    """A red half at +X and a blue half at -X."""
    rng = np.random.default_rng(0)
    means = rng.uniform(-0.5, 0.5, (400, 3))
    colors = np.where(means[:, :1] > 0, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]])
    quats = np.tile([1.0, 0.0, 0.0, 0.0], (400, 1))
    return from_activated(means, np.full((400, 3), 0.06), quats, np.full(400, 0.95), colors)


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def test_view_shows_the_right_side(splat: Gaussians) -> None:
    """From the front +X is on the right; from azimuth 90 it fills the middle."""
    front = _pixels(view(splat, azimuth=0, size=64, longest_side=1.0))
    assert front[32, 40, 0] > 200 > front[32, 24, 0]
    side = _pixels(view(splat, azimuth=90, size=64, longest_side=1.0))
    assert side[32, 32, 0] > 200
    assert tuple(front[0, 0]) == (255, 255, 255)


def test_view_scales_only_when_asked(splat: Gaussians) -> None:
    """longest_side=None leaves the splat at its own size, a larger one makes it larger."""
    covered = [
        (_pixels(view(splat, size=64, longest_side=side)).min(axis=-1) < 128).sum()
        for side in (0.5, None, 1.5)
    ]
    assert covered[0] < covered[1] < covered[2]


def test_contact_sheet_holds_the_scorers_views(splat: Gaussians) -> None:
    """Cell (row 1, column 2) is the scorer's view 6, pixel for pixel."""
    sheet = contact_sheet(splat, size=32)
    assert sheet.size == (128, 128)
    camera = scorer_cameras(32)[6]
    expected = to_image(render(normalize_longest_side(splat), camera)[0])
    np.testing.assert_array_equal(_pixels(sheet.crop((64, 32, 96, 64))), _pixels(expected))


def test_turntable_gif_turns_once_and_for_ever(splat: Gaussians, tmp_path: Path) -> None:
    """All frames are there, the first is the front, and the animation repeats."""
    path = tmp_path / "turn.gif"
    turntable(splat, path, frames=6, size=32)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.info["loop"], gif.size) == (6, 0, (32, 32))
        error = np.abs(_pixels(gif) - _pixels(view(splat, size=32))).mean()
    assert error < 8  # a palette of 256 colours


def test_turntable_mp4_can_be_read_back(splat: Gaussians, tmp_path: Path) -> None:
    """All frames are there in order, four seconds in all, and look like the views they are of."""
    path = tmp_path / "turn.mp4"
    turntable(splat, path, frames=6, size=64)
    with av.open(str(path)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
        assert container.duration == pytest.approx(4e6, rel=0.05)
    assert len(frames) == 6
    error = np.abs(_pixels(frames[2]) - _pixels(view(splat, azimuth=120, size=64))).mean()
    assert error < 12  # 4:2:0 chroma at this size


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 0},
        {"radius": -1.0},
        {"fov": 0.0},
        {"elevation": 100.0},
        {"longest_side": 0.0},
        {"longest_side": float("nan")},
        {"background": "nowhere"},
    ],
)
def test_bad_options_are_named(splat: Gaussians, arguments: dict[str, float | str]) -> None:
    """Each number out of range and an unknown background is a BadOption before any work."""
    with pytest.raises(BadOption):
        view(splat, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [("a.webm", 8, 32), ("a", 8, 32), ("a.gif", 1, 32), ("a.mp4", 8, 33)],
)
def test_bad_turntables_are_refused(
    splat: Gaussians, tmp_path: Path, name: str, frames: int, size: int
) -> None:
    """Another format, too few frames, an odd video: refused, and nothing is written."""
    with pytest.raises(BadOption):
        turntable(splat, tmp_path / name, frames=frames, size=size)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_turntable_into_nowhere_is_an_output_error(
    splat: Gaussians, tmp_path: Path, suffix: str
) -> None:
    """A folder that does not exist is one clear error, whichever library found out."""
    with pytest.raises(OutputError, match="cannot write"):
        turntable(splat, tmp_path / "missing" / f"turn{suffix}", frames=2, size=32)

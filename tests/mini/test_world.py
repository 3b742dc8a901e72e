"""The procedural world: distances, pictures, colours, captions and the split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.mini.training.silhouettes import framed, iou
from miner.mini.training.world import shapes
from miner.mini.training.world.captions import IDLE, compose, phrase, turned_round, words
from miner.mini.training.world.draw import build, draw, held_out, refit
from miner.mini.training.world.kinds import KINDS
from miner.mini.training.world.kinds import NAMES as KIND_NAMES
from miner.mini.training.world.march import camera_rays, render, silhouette
from miner.mini.training.world.palette import COLORS, dominant_color, name_pixels, shade
from miner.mini.training.world.palette import NAMES as COLOR_NAMES
from miner.mini.training.world.scene import Scene

EXACT = {
    "sphere": shapes.sphere(0.5),
    "box": shapes.box((0.3, 0.4, 0.5), 0.05),
    "cylinder": shapes.cylinder(0.3, 0.4, 0.02),
    "torus": shapes.torus(0.4, 0.15),
    "capsule": shapes.capsule(0.2, 0.3),
}
BOUNDS = {
    "ellipsoid": shapes.ellipsoid((0.5, 0.3, 0.4)),
    "frustum": shapes.frustum(0.4, 0.1, 0.5),
    "pyramid": shapes.pyramid(0.5, 0.8),
    "gable": shapes.gable(0.4, 0.5, 0.3),
    "carved": shapes.carved(shapes.box((0.4, 0.4, 0.4)), shapes.sphere(0.45)),
    "turned": shapes.turned(shapes.box((0.1, 0.3, 0.5)), "y", 33),
}


def grey_ball(radius: float = 0.5) -> Scene:
    """A ball in the middle of the native frame."""
    return Scene(
        [shapes.sphere(radius)], np.full((1, 3), 0.5, np.float32), 1.0, np.zeros(3, np.float32)
    )


@pytest.mark.parametrize("name", [*EXACT, *BOUNDS])
def test_distances_never_overstep(name: str) -> None:
    """No distance grows faster than the way walked, or a ray could jump through a surface."""
    shape = (EXACT | BOUNDS)[name]
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (4000, 3)).astype(np.float32)
    b = a + rng.normal(0, 0.05, a.shape).astype(np.float32)
    way = np.linalg.norm(a - b, axis=1)

    assert (np.abs(shape(a) - shape(b)) <= way * 1.35 + 1e-5).all()
    if name in EXACT:
        assert (np.abs(shape(a) - shape(b)) <= way + 1e-5).all()


@pytest.mark.parametrize("name", list(EXACT))
def test_exact_distances_reach_the_surface_in_one_step(name: str) -> None:
    """Going the distance along the gradient ends on the surface."""
    scene = Scene([EXACT[name]], np.ones((1, 3), np.float32), 1.0, np.zeros(3, np.float32))
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (500, 3)).astype(np.float32)
    outside = points[scene.distance(points) > 0.05]
    landed = outside - scene.normal(outside) * scene.distance(outside)[:, None]

    assert np.quantile(np.abs(scene.distance(landed)), 0.95) < 5e-3


def test_a_ball_is_seen_as_the_disc_it_is() -> None:
    """The silhouette of a ball has the radius that the camera's geometry gives, within a pixel."""
    mask = silhouette(grey_ball(), 30.0, 12.0, 128)
    angle = np.arcsin(0.5 / 1.9)
    radius_px = np.tan(angle) / np.tan(np.radians(20)) * 64

    assert abs(np.sqrt(mask.sum() / np.pi) - radius_px) < 1


def test_rays_leave_the_camera_through_the_middle_towards_the_origin() -> None:
    """The mean ray of a picture looks at the origin, and azimuth 0 looks from +x."""
    origin, directions = camera_rays(0.0, 0.0, 16)
    middle = directions.mean(0) / np.linalg.norm(directions.mean(0))

    assert np.allclose(origin, (1.9, 0, 0), atol=1e-6)
    assert np.allclose(middle, (-1, 0, 0), atol=1e-6)


def test_the_front_and_the_top_of_a_picture_are_lit() -> None:
    """Light comes from the front, above and the left: that is where a ball is brightest."""
    picture = render(grey_ball(), size=32).astype(np.float32).sum(-1)

    assert picture[8, 12] > picture[24, 20]
    assert shade(np.array([[0, 0, 1.0], [0, 0, -1.0]], np.float32))[0] > 0.8


@given(st.sampled_from(COLOR_NAMES), st.floats(0.6, 1.0))
def test_a_lit_colour_keeps_its_name(name: str, light: float) -> None:
    """Whatever the light, a pixel of a named colour is read as that colour."""
    pixel = np.array([COLORS[name]], np.float32) * np.float32(light)

    assert COLOR_NAMES[name_pixels(pixel)[0]] == name


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_named_colour_is_the_one_most_seen(kind: str) -> None:
    """A kind shows more of the colour in its caption than of any other, from the front."""
    rng = np.random.default_rng(3)
    color = "purple"
    drawn = refit(build(kind, color, compose(kind, color, "", rng), rng))
    rgba = render(drawn.scene, 0.0, drawn.elevation_deg, 48)

    assert dominant_color(rgba[..., :3].astype(np.float32) / 255, rgba[..., 3] / 255) == color


@pytest.mark.parametrize("kind", ["car", "sword", "torus"])
def test_refit_objects_fill_the_picture(kind: str) -> None:
    """After refitting, the longer side of the front silhouette is 0.85 of the picture, centred."""
    rng = np.random.default_rng(5)
    drawn = refit(build(kind, "red", compose(kind, "red", "", rng), rng))
    mask = silhouette(drawn.scene, 0.0, drawn.elevation_deg, 128)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    sides = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1

    assert max(sides) == pytest.approx(0.85 * 128, abs=6)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(63.5, abs=4)


def test_a_pair_is_held_out_for_every_kind_and_every_colour() -> None:
    """One colour in twelve is held out for each kind, and each colour for some kind."""
    pairs = [(k, c) for k in KIND_NAMES for c in COLOR_NAMES if held_out(k, c)]

    assert [k for k, _ in pairs] == list(KIND_NAMES)
    assert {c for _, c in pairs} == set(COLOR_NAMES)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_draws_respect_the_split(seed: int, unseen: bool) -> None:
    """Training never draws a held-out pair, and a test of held-out pairs draws nothing else."""
    drawn = draw(np.random.default_rng(seed), unseen)

    assert held_out(drawn.kind, drawn.color) == unseen
    assert np.isfinite(drawn.scene.offset).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KIND_NAMES), st.sampled_from(["", *COLOR_NAMES]))
def test_captions_name_what_they_fix(seed: int, kind: str, color: str) -> None:
    """A caption holds the kind under one of its names, and is one line of printable text."""
    caption = compose(kind, color, "", np.random.default_rng(seed))
    letters = caption.text

    assert letters.isprintable() and letters == letters.strip()
    assert caption.color or not color


def test_every_word_of_a_plain_caption_is_known() -> None:
    """The tokenizers' word list covers all phrasings of all kinds and colours."""
    known = set(words())
    for i in range(40):
        for kind in KINDS:
            for word in phrase(kind, "red", i).replace(",", "").split():
                assert word in known
    assert set(IDLE) <= known


def test_framing_takes_position_and_size_out() -> None:
    """A shifted and enlarged mask is the same mask once framed."""
    small = np.zeros((64, 64), bool)
    small[10:20, 12:18] = True
    large = np.zeros((64, 64), bool)
    large[20:50, 30:48] = True

    assert iou(framed(small), framed(large)) > 0.97


@pytest.mark.parametrize(
    ("text", "kind", "color", "other"),
    [
        ("a red mushroom with a white stem", "mushroom", "red", "a white mushroom with a red cap"),
        ("one violet mushroom", "mushroom", "purple", "one white mushroom with a violet cap"),
        ("a big red table with a blue legs", "table", "red", "a big blue table with a red top"),
        ("a red table", "table", "red", None),
        ("a mushroom in red", "mushroom", "red", None),
        ("a red cube", "cube", "red", None),
    ],
)
def test_a_caption_can_start_from_the_other_part(
    text: str, kind: str, color: str, other: str | None
) -> None:
    """Turned round, a caption names the same two colours of the same two parts."""
    assert turned_round(text, kind, color) == other

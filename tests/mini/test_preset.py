"""The embedded preset as it ships: its size, what it makes of prompts, and what it refuses.

The full figures come from ``python -m miner.mini.training.evaluate``; these are spot checks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from miner.errors import BadPrompt
from miner.geometry.cameras import Camera
from miner.mini.training.judge import judge_pictures, load_judge
from miner.mini.training.world.captions import phrase
from miner.mini.training.world.draw import held_out
from miner.mini.training.world.kinds import NAMES as KINDS
from miner.mini.training.world.palette import NAMES as COLORS
from miner.mini.training.world.palette import dominant_color
from miner.pipeline.pipeline import Pipeline
from miner.rendering.rasterize import render
from miner.settings import load_settings

PACKAGE = Path(__file__).resolve().parents[2] / "miner" / "mini"
LIMIT_BYTES = 25_000_000


@pytest.fixture(scope="module")
def mini() -> Pipeline:
    """The preset, loaded from the package."""
    settings = load_settings("mini", environ={})
    return Pipeline.load(settings.preset, settings.weights, "cpu")


def test_the_weights_fit_into_the_package() -> None:
    """All embedded weights together stay within what a package may carry."""
    assert sum(path.stat().st_size for path in PACKAGE.rglob("*") if path.is_file()) < LIMIT_BYTES


def test_painted_pictures_show_what_was_asked(mini: Pipeline) -> None:
    """Of pictures for held-out pairs, a judge of true pictures recognises nearly all."""
    pairs = [(kind, color) for kind in KINDS for color in COLORS if held_out(kind, color)][:24]
    prompts = [phrase(kind, color, i) for i, (kind, color) in enumerate(pairs)]
    paintings = mini.paint(prompts, list(range(len(prompts))))
    judge = load_judge(PACKAGE / "training" / "judge.safetensors")
    kinds, colors = judge_pictures(judge, np.stack([np.asarray(p.picture) for p in paintings]))
    right = [(KINDS[k], COLORS[c]) == pair for k, c, pair in zip(kinds, colors, pairs, strict=True)]

    assert np.mean(right) >= 0.85  # of so few; the targets are judged on five times as many


@pytest.mark.parametrize("prompt", ["a red cube", "a blue mug", "a green tree"])
def test_the_splat_has_the_colour_in_the_prompt(mini: Pipeline, prompt: str) -> None:
    """The front view shows mostly the named colour, and the background at its border."""
    splat = mini.generate(prompt=prompt, seed=1, count=10_000).gaussians
    image, alpha = render(splat, Camera.orbit(0, 12, 2.6, 40, 96), "black")
    rgb = image.numpy() / np.maximum(alpha.numpy(), 0.5)

    assert dominant_color(rgb, alpha[..., 0].numpy()) == prompt.split()[1]
    assert alpha[0].max() < 0.01


@pytest.mark.parametrize("prompt", ["zxqv", "DRAGON!!", "ein roter Würfel", "🙂 cube", "a " * 400])
def test_words_it_does_not_know_give_a_splat(mini: Pipeline, prompt: str) -> None:
    """Any prompt within the limits becomes a splat that passes the gate."""
    made = mini.generate(prompt=prompt, count=7_000)

    assert len(made.gaussians) >= 7_000


def test_a_batch_paints_what_single_prompts_paint(mini: Pipeline) -> None:
    """Neighbours in a batch do not change a picture, beyond one level of rounding."""
    prompts = ["a red cube", "a white mushroom with a red cap", "a tall blue lamp"]
    together = [np.asarray(p.picture, np.int16) for p in mini.paint(prompts, [3, 4, 5])]
    alone = [
        np.asarray(mini.paint([prompt], [seed])[0].picture, np.int16)
        for prompt, seed in zip(prompts, (3, 4, 5), strict=True)
    ]

    assert max(np.abs(a - b).max() for a, b in zip(together, alone, strict=True)) <= 1


def test_equal_seeds_give_equal_splats(mini: Pipeline) -> None:
    """A prompt and a seed fix the result; another seed gives another one."""
    first, again, other = (
        mini.generate(prompt="a yellow car", seed=seed, count=7_000).gaussians for seed in (5, 5, 6)
    )

    assert np.array_equal(first.means, again.means)
    assert not np.array_equal(first.means, other.means)


def test_a_bad_prompt_is_refused_before_any_work(mini: Pipeline) -> None:
    """An empty prompt is an error of the caller."""
    with pytest.raises(BadPrompt):
        mini.generate(prompt="   ")

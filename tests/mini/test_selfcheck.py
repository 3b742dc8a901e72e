"""The embedded self-check as it ships: it tells what was asked for from what was not.

``python -m miner.mini.training.evaluate_clip`` holds it against 120 prompts; these are spot checks.
"""

from __future__ import annotations

import pytest

from miner.pipeline.pipeline import Pipeline
from miner.settings import load_settings

ASKED = [
    # held-out pairs: no training saw them, nor heard of them
    ("a red cube", "a blue cube", "a red mushroom"),
    ("a cyan sphere", "a yellow sphere", "a cyan chair"),
    ("a white cone", "a red cone", "a white boat"),
]


@pytest.fixture(scope="module")
def mini() -> Pipeline:
    """The preset with its check reporting."""
    environ = {"MINER_SELF_CHECK__MODE": "report"}
    settings = load_settings("mini", environ=environ)
    return Pipeline.load(settings.preset, settings.weights, "cpu")


@pytest.mark.parametrize(("prompt", "other_color", "other_kind"), ASKED)
def test_the_right_prompt_is_ahead_and_the_wrong_ones_fail(
    mini: Pipeline, prompt: str, other_color: str, other_kind: str
) -> None:
    """What was asked for passes the preset's threshold; another colour and another kind do not."""
    made = mini.generate(prompt=prompt, seed=1)
    assert made.check is not None
    assert made.check.score >= mini.preset.self_check.threshold
    assert mini.checker is not None
    for wrong in (other_color, other_kind):
        assert mini.checker.judge(made.gaussians, wrong).score < made.check.score


def test_without_its_mode_the_check_is_not_even_loaded() -> None:
    """As shipped the mode is off, and a splat has no verdict."""
    settings = load_settings("mini", environ={})
    mini = Pipeline.load(settings.preset, settings.weights, "cpu")

    assert settings.preset.self_check.mode == "off"
    assert mini.generate(prompt="a red cube", count=7_000).check is None

"""Sides of pictures: the aspect and the area asked for, in multiples that a model takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import BadOption
from miner.pipeline.aspects import ASPECTS, sides


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [("1:1", (512, 512)), ("16:9", (688, 384)), ("9:16", (384, 688)), ("21:9", (784, 336))],
)
def test_known_sizes(aspect: str, expected: tuple[int, int]) -> None:
    """For 512 px and multiples of 16 these are the sides."""
    assert sides(aspect, 512, 16) == expected


@given(st.sampled_from(sorted(ASPECTS)), st.integers(4, 128).map(lambda n: 16 * n), st.just(16))
def test_aspect_area_and_multiples(aspect: str, square: int, multiple: int) -> None:
    """Sides are multiples within half of one of the exact figures; a turned aspect turns them."""
    width, height = sides(aspect, square, multiple)
    wide, high = ASPECTS[aspect]
    exact = square * (wide / high) ** 0.5

    assert width % multiple == height % multiple == 0
    assert abs(width - exact) <= multiple / 2 + 1e-6 or width == multiple
    assert abs(height - square * square / exact) <= multiple / 2 + 1e-6 or height == multiple
    if aspect == "1:1":
        assert (width, height) == (square, square)
    turned = ":".join(reversed(aspect.split(":")))
    assert turned not in ASPECTS or sides(turned, square, multiple) == (height, width)


def test_an_unknown_aspect_is_named() -> None:
    """A mistyped aspect is refused with the list."""
    with pytest.raises(BadOption, match=r"'16x9'.*1:1, 16:9"):
        sides("16x9", 512, 16)

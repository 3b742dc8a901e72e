"""What is let through as a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import BadPrompt
from miner.pipeline.prompts import MAX_CHARACTERS, clean_prompt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red cube", "a red cube"),
        ("  a\tred \r\n cube ", "a red cube"),
        ("ein würfel, \N{CAT FACE}", "ein würfel, \N{CAT FACE}"),
        ("x" * MAX_CHARACTERS, "x" * MAX_CHARACTERS),
    ],
)
def test_white_space_is_normalised_and_words_are_kept(text: str, expected: str) -> None:
    """Runs of white space become one blank; any script and the longest prompt go through."""
    assert clean_prompt(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \t\n\u2003", "empty"),
        ("\u200b\u200d", "empty"),
        ("x" * (MAX_CHARACTERS + 1), "1025 characters"),
        ("\x00" * (MAX_CHARACTERS + 1), "1025 characters"),
        ("a" + " " * 70_000 + "b", "70002 characters"),
        ("a\x00b", "U\\+0000"),
        ("a\x1b[31mb", "U\\+001B"),
        ("a\x7fb", "U\\+007F"),
        ("a\udcffb", "UTF-8"),
    ],
)
def test_what_is_no_prompt_is_refused(text: str, why: str) -> None:
    """Empty, invisible, over-long, controlling and undecodable prompts are refused."""
    with pytest.raises(BadPrompt, match=why):
        clean_prompt(text)


@given(st.text())
def test_every_text_is_cleaned_or_refused(text: str) -> None:
    """Whatever the text, the answer is BadPrompt or a prompt that cleaning leaves as it is."""
    try:
        prompt = clean_prompt(text)
    except BadPrompt:
        return

    assert clean_prompt(prompt) == prompt
    assert prompt.encode("utf-8")
    assert 0 < len(prompt) <= MAX_CHARACTERS

"""What counts as a prompt: checked once, before anything is computed for it."""

from __future__ import annotations

import unicodedata

from miner.errors import BadPrompt

MAX_CHARACTERS = 1024
MAX_RAW_CHARACTERS = 64 * MAX_CHARACTERS
"""With the white space that cleaning takes out; cleaning megabytes takes seconds."""


def clean_prompt(text: str) -> str:
    """The prompt with every run of white space as one blank and none at the ends.

    Raises:
        BadPrompt: nothing visible in it, longer than ``MAX_CHARACTERS``, control characters other
            than tabs and line ends, or characters that no UTF-8 text can hold.
    """
    prompt = " ".join(text.split()) if len(text) <= MAX_RAW_CHARACTERS else text
    if len(prompt) > MAX_CHARACTERS:
        raise BadPrompt(f"the prompt has {len(prompt)} characters; at most {MAX_CHARACTERS} go in")
    for character in prompt:
        category = unicodedata.category(character)
        if category == "Cs":
            raise BadPrompt("the prompt is not valid UTF-8 text")
        if category == "Cc":
            raise BadPrompt(f"the prompt holds a control character (U+{ord(character):04X})")
    if not any(unicodedata.category(character)[0] not in "ZC" for character in prompt):
        raise BadPrompt("the prompt is empty; say what to make, as in: a red cube")
    return prompt

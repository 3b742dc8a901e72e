"""Reads the keys of ``config/miner.toml`` with the comments beside them, in the file's order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_SECTION = re.compile(r"(# )?\[(?P<name>\[?[a-z_.]+\]?)\]\s*(#\s*(?P<about>.*))?")
_KEY = re.compile(r"(?P<off>#\s)?(?P<name>[a-z_]+) = (?P<rest>.*)")
_MORE = re.compile(r"\s+#\s*(?P<text>.*)")
END = "# Keys of the preset can be set here as well"


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        section: its table; in brackets one of which there are several; empty for those at the top.
        about: the comment beside the table.
        default: as TOML.
        optional: commented out in the file.
    """

    section: str
    about: str
    name: str
    default: str
    meaning: str
    optional: bool


def keys(text: str) -> Iterator[Key]:
    """All keys of a settings file of ours."""
    section, about, key, in_head = "", "", None, False
    for line in text.split(END, maxsplit=1)[0].splitlines():
        if match := _SECTION.fullmatch(line):
            if key is not None:
                yield key
            key, in_head = None, True
            section, about = match["name"], match["about"] or ""
        elif match := _KEY.fullmatch(line):
            if key is not None:
                yield key
            default, _, meaning = _split(match["rest"])
            key = Key(section, about, match["name"], default, meaning, bool(match["off"]))
            in_head = False
        elif match := _MORE.fullmatch(line):
            if key is not None:
                key = replace(key, meaning=f"{key.meaning} {match['text']}".strip())
            elif in_head:
                about = f"{about} {match['text']}"
    if key is not None:
        yield key


def _split(rest: str) -> tuple[str, str, str]:
    """Value and comment; a value may hold a # inside quotes."""
    quoted = False
    for at, character in enumerate(rest):
        quoted ^= character == '"'
        if character == "#" and not quoted:
            return rest[:at].strip(), "#", rest[at + 1 :].strip()
    return rest.strip(), "", ""

"""Captions of objects: many phrasings, words that do not matter, and the list of all words used."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .kinds import KINDS
from .palette import COLORS

PHRASINGS = (
    "a {k}",
    "{k}",
    "one {k}",
    "the {k}",
    "a {k} on a plain background",
    "a 3d model of a {k}",
    "a picture of a {k}",
    "a single {k}",
    "a simple {k}",
    "a toy {k}",
    "3d asset of a {k}",
    "a {k}, centered",
    "render of a {k}",
)
"""{k} stands for colour, size and kind together, as in "small red car"."""

LATE_PHRASINGS = ("a {n} in {c}", "a {n} that is {c}", "a {n} coloured {c}", "a {n} painted {c}")
"""The colour after the noun; {n} is the kind with its size word, {c} the colour."""

TALL = {"tall": 1.3, "high": 1.3, "short": 0.75, "low": 0.75, "flat": 0.65}
WIDE = {"wide": 1.2, "thick": 1.2, "fat": 1.25, "narrow": 0.8, "thin": 0.75, "slim": 0.8}
FRAME = {"small": 0.62, "little": 0.62, "tiny": 0.55, "big": 0.9, "large": 0.9, "huge": 0.92}
"""Size words and what they change: heights, widths, and the share of the picture."""

COLOR_WORDS = {
    "grey": ("grey", "gray"),
    "purple": ("purple", "violet"),
    "cyan": ("cyan", "turquoise"),
}

MATERIALS = {"wooden": "brown", "golden": "yellow", "snowy": "white", "gold": "yellow"}
"""Words that imply a colour where none is named."""

_IDLE_TEXT = """
    nice cute shiny glossy matte old new modern antique ancient classic fancy elegant plain smooth
    rough detailed realistic stylized cartoon low poly high quality beautiful ornate rustic vintage
    futuristic clean dirty broken magic royal heavy light soft hard cheap expensive kitchen garden
    office outdoor indoor metal plastic stone glass ceramic leather velvet steel marble paper clay
    carved handmade medieval japanese victorian minimal minimalist geometric abstract tiny-detail
    photo studio game item object prop isolated perfect good great lovely cool funny strange weird
    sturdy sleek round square curved strong bright dark pale deep vivid colorful polished textured
    fantasy scifi steampunk retro urban rural winter summer spring autumn morning evening happy
    sad angry little-used brand favorite special famous popular rare common simple-looking dragon
    cat dog horse bird fish robot person man woman child baby king queen knight wizard animal
    flower fruit apple banana pizza cake food bread cheese shoe hat shirt dress clock phone laptop
    camera guitar piano drum book pen pencil bag box coin key door window bed sofa shelf train
    plane truck bike bus street city forest mountain river ocean beach desert island moon star sun
    sky cloud fire water ice snow sand rock gold silver bronze copper iron crystal diamond gem
    with and of in on the for from by at to its very really some this that standing sitting
    lying flying running walking sleeping smiling left right front back side top bottom inside
"""

IDLE = tuple(_IDLE_TEXT.split())
"""Words that change nothing; learnt so that they can be ignored."""


@dataclass(frozen=True)
class Caption:
    """A caption and what it fixes; fields that it leaves open are empty or 1.

    Attributes:
        text: what is said.
        color: name of the main colour, "" if open.
        second: name of the second part's colour, "" if open.
        tall, wide: factors on the proportions.
        frame: share of the picture's side that the object takes, 0 if open.
    """

    text: str
    color: str
    second: str
    tall: float = 1.0
    wide: float = 1.0
    frame: float = 0.0


def phrase(kind: str, color: str, phrasing: int) -> str:
    """The plain caption of a kind and a colour in one of the phrasings (modulo their number)."""
    every = PHRASINGS + LATE_PHRASINGS
    form = every[phrasing % len(every)]
    return form.format(k=f"{color} {kind}", n=kind, c=color)


def _gibberish(rng: np.random.Generator) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return "".join(letters[i] for i in rng.integers(0, 26, rng.integers(2, 6)))


def _distract(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    for _ in range(rng.integers(1, 3)):
        extra = _gibberish(rng) if rng.random() < 0.25 else str(rng.choice(IDLE))
        words.insert(int(rng.integers(0, len(words) + 1)), extra)
    return " ".join(words)


def _color_word(color: str, rng: np.random.Generator) -> str:
    return str(rng.choice(COLOR_WORDS.get(color, (color,))))


def compose(kind: str, color: str, second: str, rng: np.random.Generator) -> Caption:
    """A random caption of a kind; ``color`` and ``second`` may be "" to say nothing of them."""
    noun = kind if rng.random() < 0.75 else str(rng.choice((kind, *KINDS[kind].words)))
    tall, wide, frame, size = 1.0, 1.0, 0.0, ""
    draw = rng.random()
    for low, table in ((0.92, "tall"), (0.84, "wide"), (0.72, "frame")):
        if draw >= low:
            choices = {"tall": TALL, "wide": WIDE, "frame": FRAME}[table]
            size = str(rng.choice(list(choices)))
            tall = TALL[size] if table == "tall" else 1.0
            wide = WIDE[size] if table == "wide" else 1.0
            frame = FRAME[size] if table == "frame" else 0.0
            break
    text = _wording(noun, color, size, rng)
    if not color and rng.random() < 0.3:
        material = str(rng.choice(list(MATERIALS)))
        color, text = MATERIALS[material], text.replace(noun, f"{material} {noun}")
    if second:
        text += f" with a {_color_word(second, rng)} {KINDS[kind].second}"
    if rng.random() < 0.22:
        text = _distract(text, rng)
    return Caption(text, color, second, tall, wide, frame)


def _wording(noun: str, color: str, size: str, rng: np.random.Generator) -> str:
    word = _color_word(color, rng) if color else ""
    sized = f"{size} {noun}".strip()
    if color and rng.random() < 0.15:
        return str(rng.choice(LATE_PHRASINGS)).format(n=sized, c=word)
    phrased = f"{size} {word} {noun}" if rng.random() < 0.7 else f"{word} {size} {noun}"
    return str(rng.choice(PHRASINGS)).format(k=" ".join(phrased.split()))


def turned_round(text: str, kind: str, color: str) -> str | None:
    """The caption said from its other part, None where it cannot be.

    "a red mushroom with a white stem" is also "a white mushroom with a red cap"; a caption that
    says nothing of the stem has one of its kind's own colour.
    """
    entry = KINDS[kind]
    named = "|".join(COLOR_WORDS.get(color, (color,)))
    found = re.fullmatch(
        rf"(?P<before>.*?)\b(?P<main>{named})\b(?P<middle>.*?{kind})"
        rf"( with a (?P<second>\w+) {entry.second})?",
        text,
    )
    if not entry.first or found is None:
        return None
    second = found["second"] or entry.second_color
    if second == "main":
        return None
    return f"{found['before']}{second}{found['middle']} with a {found['main']} {entry.first}"


def words() -> list[str]:
    """Every word a caption can hold, sorted: the whole-word pieces of the tokenizers."""
    found = set(IDLE) | set(TALL) | set(WIDE) | set(FRAME) | set(MATERIALS) | set(COLORS)
    for form in PHRASINGS + LATE_PHRASINGS:
        found |= set(form.replace("{k}", "").replace("{n}", "").replace("{c}", "").split())
    for name, kind in KINDS.items():
        found |= {name, kind.second, *" ".join(kind.words).split()}
    for variants in COLOR_WORDS.values():
        found |= set(variants)
    found -= {"", ","}
    return sorted(word.strip(",") for word in found)

"""Drawing objects: a kind, colours and proportions become a normalised scene with its caption.

Also the split: one kind-colour pair in twelve is held out of all training and used to test whether
the models compose what they have only seen apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .captions import Caption, compose
from .kinds import KINDS, NAMES, Draw
from .march import FOV_DEG, silhouette
from .palette import COLORS, JITTER
from .palette import NAMES as COLOR_NAMES
from .scene import Scene, bounds
from .shapes import turned

FIXED_SLOTS = {"wood": "brown", "glass": "black"}
YAW_JITTER_DEG = 9.0
ELEVATIONS_DEG = (9.0, 15.0)
"""The front picture is taken from a little above, between these two."""

FILL = 0.56
"""Half of the object's longest side in the native frame: about 0.85 of the camera's view."""


@dataclass(frozen=True)
class Drawn:
    """One object with everything that was decided about it.

    Attributes:
        kind, color: names; color is that of the main part.
        caption: the caption it was drawn for.
        scene: the object in the native frame, centred, its longest side ``2 * FILL``.
        elevation_deg: of the camera of its front picture.
    """

    kind: str
    color: str
    caption: Caption
    scene: Scene
    elevation_deg: float


def held_out(kind: str, color: str) -> bool:
    """Whether this pair is kept out of training: one colour in twelve for each kind, in turn."""
    return (NAMES.index(kind) * 5 + COLOR_NAMES.index(color)) % 12 == 0


def _jittered(name: str, rng: np.random.Generator) -> NDArray[np.float32]:
    base = np.array(COLORS[name]) + rng.uniform(-JITTER, JITTER, 3)
    return np.clip(base, 0, 1).astype(np.float32)


def _pick_pair(rng: np.random.Generator, unseen: bool) -> tuple[str, str]:
    while True:
        kind, color = str(rng.choice(NAMES)), str(rng.choice(COLOR_NAMES))
        if held_out(kind, color) == unseen:
            return kind, color


def draw(rng: np.random.Generator, unseen: bool = False) -> Drawn:
    """A random object with a random caption; ``unseen`` draws from the held-out pairs only."""
    kind, color = _pick_pair(rng, unseen)
    natural = KINDS[kind].natural
    silent = not unseen and rng.random() < 0.07 and not held_out(kind, natural)
    second = str(rng.choice(COLOR_NAMES)) if KINDS[kind].second and rng.random() < 0.25 else ""
    caption = compose(kind, "" if silent else color, second, rng)
    if silent:
        color = caption.color or natural
        if held_out(kind, color):
            return draw(rng, unseen)
    return build(kind, color, caption, rng)


def build(kind: str, color: str, caption: Caption, rng: np.random.Generator) -> Drawn:
    """The object of a caption, with random proportions."""
    entry = KINDS[kind]
    parts = entry.build(Draw(rng, caption.tall, caption.wide))
    yaw = entry.yaw_deg + float(rng.uniform(-YAW_JITTER_DEG, YAW_JITTER_DEG))
    shapes = [turned(part.shape, "z", yaw) for part in parts]
    main = _jittered(color, rng)
    slots = {"main": main}
    for slot, name in FIXED_SLOTS.items():
        slots[slot] = _jittered(name, rng)
    second = caption.second or entry.second_color
    slots["second"] = main if second == "main" else _jittered(second, rng)
    low, high = bounds(shapes)
    scale = FILL * 2 / float((high - low).max())
    scene = Scene(
        shapes=shapes,
        colors=np.stack([slots[part.slot] for part in parts]),
        scale=scale,
        offset=(-(low + high) / 2 * scale).astype(np.float32),
    )
    return Drawn(kind, color, caption, scene, float(rng.uniform(*ELEVATIONS_DEG)))


def refit(drawn: Drawn, size: int = 64, ratio: float = 0.85) -> Drawn:
    """The object shifted and scaled so that its front picture fills ``ratio`` of the side, centred.

    The picture that reaches TripoSR is cropped that way, so position and size carry no information.
    """
    scene = drawn.scene
    for _ in range(2):
        low, high = _extent(scene, drawn.elevation_deg, size)
        half = np.tan(np.radians(FOV_DEG) / 2) * 1.9
        center = (low + high) / 2 * half  # in the camera's plane: right, up
        factor = ratio / float((high - low).max() / 2)
        el = np.radians(drawn.elevation_deg)
        up = np.array([-np.sin(el), 0, np.cos(el)])
        shift = center[0] * np.array([0, 1, 0]) + center[1] * up
        scene = Scene(
            scene.shapes,
            scene.colors,
            scene.scale * factor,
            ((scene.offset - shift) * factor).astype(np.float32),
        )
    return Drawn(drawn.kind, drawn.color, drawn.caption, scene, drawn.elevation_deg)


def _extent(
    scene: Scene, elevation_deg: float, size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest (right, up) of the silhouette in units of half the picture's side."""
    mask = silhouette(scene, 0.0, elevation_deg, size)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.array([-0.85, -0.85]), np.array([0.85, 0.85])
    x0, x1 = columns[0] / size * 2 - 1, (columns[-1] + 1) / size * 2 - 1
    y0, y1 = 1 - (rows[-1] + 1) / size * 2, 1 - rows[0] / size * 2
    return np.array([x0, y0]), np.array([x1, y1])

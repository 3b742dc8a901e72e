"""The kinds of object: one function each, from a random generator and a stretch to coloured parts.

A kind's parts are given in its own unit (about one across), z up, its face towards +x; how it is
turned, scaled and coloured is decided in ``draw.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scene import Part
from .shapes import (
    Shape,
    box,
    capsule,
    carved,
    cylinder,
    ellipsoid,
    frustum,
    gable,
    moved,
    pyramid,
    sphere,
    torus,
    turned,
    union,
)

Builder = Callable[["Draw"], list[Part]]


@dataclass(frozen=True)
class Draw:
    """What varies between two objects of one kind.

    Attributes:
        rng: source of all proportions.
        tall: factor on heights, 1 when the caption says nothing of them.
        wide: factor on widths, likewise.
    """

    rng: np.random.Generator
    tall: float = 1.0
    wide: float = 1.0

    def u(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(self.rng.uniform(low, high))


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        build: makes the parts.
        second: the word for the part that a second colour in the caption names, "" if none.
        second_color: its colour when the caption names none.
        first: the word for the main part, where a caption may name that one instead.
        natural: the main colour when the caption names none at all.
        yaw_deg: how far the object is turned so that the front view shows its shape.
        words: other words and phrases a caption may use for it.
    """

    build: Builder
    second: str = ""
    second_color: str = "white"
    natural: str = "grey"
    yaw_deg: float = 0.0
    words: tuple[str, ...] = ()
    first: str = ""


def _main(*shapes: Shape) -> list[Part]:
    return [Part(shape, "main") for shape in shapes]


def _second(*shapes: Shape) -> list[Part]:
    return [Part(shape, "second") for shape in shapes]


def _four(shape: Callable[[float, float], Shape], x: float, y: float) -> Shape:
    return union(shape(x, y), shape(-x, y), shape(x, -y), shape(-x, -y))


def _cube(d: Draw) -> list[Part]:
    s = 0.5
    return _main(box((s * d.wide, s * d.wide, s * d.tall), d.u(0, 0.05)))


def _sphere(d: Draw) -> list[Part]:
    return _main(ellipsoid((0.5 * d.wide, 0.5 * d.wide, 0.5 * d.tall)))


def _cylinder(d: Draw) -> list[Part]:
    return _main(cylinder(d.u(0.28, 0.4) * d.wide, d.u(0.45, 0.6) * d.tall, 0.02))


def _cone(d: Draw) -> list[Part]:
    return _main(frustum(d.u(0.36, 0.48) * d.wide, 0.015, d.u(0.45, 0.6) * d.tall))


def _torus(d: Draw) -> list[Part]:
    ring = torus(d.u(0.36, 0.42) * d.wide, d.u(0.12, 0.17))
    return _main(turned(ring, "y", 90 - d.u(20, 35)))


def _pyramid(d: Draw) -> list[Part]:
    return _main(pyramid(d.u(0.45, 0.55) * d.wide, d.u(0.75, 1.0) * d.tall))


def _capsule(d: Draw) -> list[Part]:
    return _main(capsule(d.u(0.2, 0.27) * d.wide, d.u(0.32, 0.42) * d.tall))


def _table(d: Draw) -> list[Part]:
    w, long, h = d.u(0.36, 0.5) * d.wide, d.u(0.5, 0.65) * d.wide, d.u(0.5, 0.65) * d.tall
    t = d.u(0.05, 0.065)
    top = moved(box((w, long, t), 0.01), z=h)
    leg = d.u(0.055, 0.075)
    legs = _four(lambda x, y: moved(box((leg, leg, h / 2)), x, y, h / 2), w - leg, long - leg)
    return [*_main(top), *_second(legs)]


def _chair(d: Draw) -> list[Part]:
    w, seat, back = d.u(0.3, 0.36) * d.wide, d.u(0.42, 0.5), d.u(0.5, 0.62) * d.tall
    leg = d.u(0.05, 0.065)
    board = moved(box((w, w, 0.055), 0.01), z=seat)
    rest = moved(box((0.055, w, back / 2), 0.01), x=-w + 0.055, z=seat + back / 2)
    legs = _four(lambda x, y: moved(box((leg, leg, seat / 2)), x, y, seat / 2), w - leg, w - leg)
    return [*_main(board, rest), *_second(legs)]


def _stool(d: Draw) -> list[Part]:
    r, h = d.u(0.3, 0.36) * d.wide, d.u(0.6, 0.8) * d.tall
    top = moved(cylinder(r, 0.07, 0.02), z=h)
    leg, reach = d.u(0.045, 0.06), r * 0.72
    legs = _four(lambda x, y: moved(cylinder(leg, h / 2), x, y, h / 2), reach * 0.8, reach * 0.8)
    return [*_main(top), *_second(legs)]


def _mug(d: Draw) -> list[Part]:
    r, h = d.u(0.32, 0.38) * d.wide, d.u(0.36, 0.44) * d.tall
    cup = carved(cylinder(r, h, 0.02), moved(cylinder(r - 0.075, h), z=0.1))
    ring = turned(torus(d.u(0.2, 0.24), 0.055), "x", 90)
    handle = carved(moved(turned(ring, "z", 90), y=r), cylinder(r - 0.04, h))
    return [*_main(cup), *_second(handle)]


def _bottle(d: Draw) -> list[Part]:
    r, h, neck = d.u(0.2, 0.26) * d.wide, d.u(0.36, 0.44) * d.tall, d.u(0.075, 0.095)
    body = cylinder(r, h, 0.04)
    shoulder = moved(frustum(r * 0.97, neck, 0.1), z=h + 0.08)
    throat = moved(cylinder(neck, 0.13), z=h + 0.26)
    cap = moved(cylinder(neck + 0.035, 0.07, 0.01), z=h + 0.4)
    return [*_main(body, shoulder, throat), *_second(cap)]


def _vase(d: Draw) -> list[Part]:
    r, h = d.u(0.3, 0.36) * d.wide, d.u(0.85, 1.0) * d.tall
    foot = moved(frustum(r * 0.55, r, h * 0.22), z=h * 0.22)
    belly = moved(frustum(r, r * 0.42, h * 0.19), z=h * 0.63)
    lip = moved(frustum(r * 0.42, r * 0.68, h * 0.1), z=h * 0.91)
    hole = moved(frustum(r * 0.3, r * 0.52, h * 0.11), z=h * 0.93)
    return [*_main(foot, belly), *_second(carved(lip, hole))]


def _lamp(d: Draw) -> list[Part]:
    h, r = d.u(0.75, 0.9) * d.tall, d.u(0.34, 0.4) * d.wide
    shade = moved(frustum(r, r * 0.55, 0.22), z=h)
    pole = moved(cylinder(0.055, h / 2), z=h / 2)
    foot = moved(cylinder(r * 0.62, 0.05, 0.01), z=0.05)
    return [*_main(shade), *_second(pole, foot)]


def _tree(d: Draw) -> list[Part]:
    trunk = moved(cylinder(d.u(0.075, 0.1), 0.25), z=0.25)
    if d.rng.random() < 0.5:
        r = d.u(0.34, 0.42) * d.wide
        crown = [moved(ellipsoid((r, r, r * d.u(0.9, 1.15) * d.tall)), z=0.4 + r)]
    else:
        r = d.u(0.36, 0.44) * d.wide
        crown = [
            moved(frustum(r * k, r * k * 0.3, 0.17 * d.tall), z=0.5 + i * 0.25 * d.tall)
            for i, k in enumerate((1.0, 0.78, 0.55))
        ]
    return [*_main(*crown), *_second(trunk)]


def _mushroom(d: Draw) -> list[Part]:
    r, h = d.u(0.4, 0.48) * d.wide, d.u(0.4, 0.55) * d.tall
    dome = ellipsoid((r, r, r * d.u(0.7, 0.9)))
    cap = moved(carved(dome, moved(box((1, 1, 0.5)), z=-0.55)), z=h)
    stem = moved(frustum(d.u(0.15, 0.19), d.u(0.11, 0.14), h / 2), z=h / 2)
    return [*_main(cap), *_second(stem)]


def _snowman(d: Draw) -> list[Part]:
    a, b, c = 0.36 * d.wide, 0.27 * d.wide, 0.19 * d.wide
    z2 = a * 2 + b * 0.75
    z3 = z2 + b + c * 0.75
    balls = [moved(sphere(a), z=a), moved(sphere(b), z=z2), moved(sphere(c), z=z3)]
    brim = moved(cylinder(c * 1.15, 0.03), z=z3 + c * 0.75)
    hat = moved(cylinder(c * 0.75, 0.12), z=z3 + c * 0.75 + 0.12)
    return [*_main(*balls), *_second(union(brim, hat))]


def _house(d: Draw) -> list[Part]:
    w, long, h = d.u(0.34, 0.4) * d.wide, d.u(0.42, 0.5) * d.wide, d.u(0.26, 0.32) * d.tall
    walls = moved(box((w, long, h)), z=h)
    roof = moved(gable(w + 0.08, long + 0.06, d.u(0.3, 0.4)), z=2 * h)
    door = moved(box((0.05, 0.09, 0.16)), x=w, z=0.16)
    return [*_main(walls), *_second(roof), Part(door, "wood")]


def _tower(d: Draw) -> list[Part]:
    r, h = d.u(0.2, 0.25) * d.wide, d.u(0.8, 0.95) * d.tall
    shaft = moved(frustum(r * 1.15, r, h / 2), z=h / 2)
    crown = moved(cylinder(r * 1.3, 0.09), z=h + 0.05)
    roof = moved(frustum(r * 1.35, 0.015, d.u(0.17, 0.24)), z=h + 0.34)
    return [*_main(shaft, crown), *_second(roof)]


def _car(d: Draw) -> list[Part]:
    long, w, h = d.u(0.62, 0.72) * d.wide, d.u(0.28, 0.33), d.u(0.12, 0.15) * d.tall
    body = moved(box((w, long, h), 0.04), z=0.14 + h)
    base = 0.14 + 2 * h
    cabin = moved(box((w * 0.86, long * 0.5, 0.13), 0.05), y=-0.05, z=base + 0.08)
    glass = moved(box((w * 0.89, long * 0.42, 0.065), 0.01), y=-0.05, z=base + 0.09)
    disc = turned(cylinder(0.15, 0.06, 0.01), "y", 90)
    wheels = _four(lambda x, y: moved(disc, x, y, 0.15), w - 0.03, long * 0.62)
    return [*_main(body, cabin), Part(glass, "glass"), *_second(wheels)]


def _boat(d: Draw) -> list[Part]:
    long = d.u(0.55, 0.65) * d.wide
    hull = carved(ellipsoid((0.3, long, 0.42)), moved(box((2, 2, 1)), z=1.0))
    mast = moved(cylinder(0.05, 0.33 * d.tall), z=0.33 * d.tall)
    top = d.u(0.52, 0.6) * d.tall
    sail = moved(turned(gable(long * 0.42, 0.06, top - 0.08), "z", 90), z=0.1)
    return [*_main(hull), *_second(sail), Part(mast, "wood")]


def _rocket(d: Draw) -> list[Part]:
    r, h = d.u(0.17, 0.21) * d.wide, d.u(0.65, 0.8) * d.tall
    body = moved(cylinder(r, h / 2), z=0.16 + h / 2)
    nose = moved(frustum(r, 0.015, 0.18), z=0.16 + h + 0.18)
    fin = box((0.045, r + 0.17, 0.13))
    fins = [moved(turned(fin, "z", angle), z=0.16) for angle in (45, 135)]
    return [*_main(body), *_second(nose, *fins)]


def _sword(d: Draw) -> list[Part]:
    long = d.u(0.8, 0.95) * d.tall
    blade = moved(box((0.06, 0.125 * d.wide, long / 2), 0.015), z=long / 2)
    tip = moved(turned(gable(0.125 * d.wide, 0.06, 0.17), "z", 90), z=long)
    guard = box((0.075, 0.27, 0.055), 0.015)
    grip = moved(cylinder(0.06, 0.16), z=-0.2)
    knob = moved(sphere(0.085), z=-0.38)
    return [*_main(blade, tip), *_second(guard, grip, knob)]


def _hammer(d: Draw) -> list[Part]:
    h = d.u(0.62, 0.72) * d.tall
    r = d.u(0.17, 0.21) * d.wide
    head = moved(turned(cylinder(r, d.u(0.3, 0.38), 0.03), "x", 90), z=h)
    handle = moved(cylinder(d.u(0.06, 0.075), h / 2), z=h / 2)
    return [*_main(head), *_second(handle)]


def _bowl(d: Draw) -> list[Part]:
    r = d.u(0.46, 0.54) * d.wide
    shell = carved(sphere(r), sphere(r - 0.085))
    cut = carved(shell, moved(box((2, 2, 1)), z=1.0 - 0.02))
    foot = moved(cylinder(r * 0.45, 0.06), z=-r)
    return [*_main(cut), *_second(foot)]


def _cactus(d: Draw) -> list[Part]:
    h, r = d.u(0.36, 0.44) * d.tall, d.u(0.13, 0.16) * d.wide
    stem = moved(capsule(r, h), z=h + r)
    arms = []
    for side, low in ((1, d.u(0.3, 0.45)), (-1, d.u(0.45, 0.62))):
        reach, z = r + 0.15, low * 2 * h
        arms.append(moved(turned(capsule(0.075, 0.12), "x", 90), y=side * reach / 1.4, z=z))
        arms.append(moved(capsule(0.075, 0.13), y=side * (reach + 0.08), z=z + 0.13))
    pot = moved(frustum(0.2, 0.27, 0.14), z=-0.04)
    return [*_main(stem, *arms), *_second(pot)]


KINDS: dict[str, Kind] = {
    "cube": Kind(_cube, yaw_deg=30, words=("block",)),
    "sphere": Kind(_sphere, words=("ball",)),
    "cylinder": Kind(_cylinder),
    "cone": Kind(_cone),
    "torus": Kind(_torus, words=("ring", "donut")),
    "pyramid": Kind(_pyramid, yaw_deg=28, natural="yellow"),
    "capsule": Kind(_capsule, words=("pill",)),
    "table": Kind(_table, "legs", "main", "brown", 24, ("desk",), "top"),
    "chair": Kind(_chair, "legs", "main", "brown", 38),
    "stool": Kind(_stool, "legs", "main", "brown", 20),
    "mug": Kind(_mug, "handle", "main", "white", 22, ("cup", "coffee mug", "coffee cup")),
    "bottle": Kind(_bottle, "cap", "white", "green"),
    "vase": Kind(_vase, "rim", "main", "blue"),
    "lamp": Kind(_lamp, "base", "grey", "yellow", 0, ("desk lamp",)),
    "tree": Kind(_tree, "trunk", "brown", "green"),
    "mushroom": Kind(_mushroom, "stem", "white", "red", first="cap"),
    "snowman": Kind(_snowman, "hat", "black", "white"),
    "house": Kind(_house, "roof", "brown", "white", 35, ("cottage",)),
    "tower": Kind(_tower, "roof", "brown", "grey", 0, ("castle tower",)),
    "car": Kind(_car, "wheels", "black", "red", 32, ("sports car", "automobile")),
    "boat": Kind(_boat, "sail", "white", "brown", 22, ("sailboat", "ship")),
    "rocket": Kind(_rocket, "fins", "red", "white", 18, ("spaceship",)),
    "sword": Kind(_sword, "handle", "brown", "grey", 16, ("blade",), "blade"),
    "hammer": Kind(_hammer, "handle", "brown", "grey", 16, ("mallet",)),
    "bowl": Kind(_bowl, "foot", "main", "white", 0, ("dish",)),
    "cactus": Kind(_cactus, "pot", "brown", "green", 8, ("saguaro",)),
}
NAMES = tuple(KINDS)

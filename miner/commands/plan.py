"""``miner plan``: which part of the work would lie where on a card, in which numbers, and why."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from miner.commands.console import Reporter, result
from miner.commands.plan_table import overview, table
from miner.errors import BadOption
from miner.gpu.capability import assume_installed, installed_here
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.planner import make_plan
from miner.gpu.usual_cards import USUAL_CARDS, capability_of_size, preset_for
from miner.settings import Settings, load_settings

UNITS = {"": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}
UNITS |= {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4}
SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)
CAPABILITY = re.compile(r"([0-9]{1,2})\.([0-9])")

MOST_BYTES = 1 << 50


def plan(
    vram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of a GPU, as in 12GiB; not this machine's.")
    ] = None,
    capability: Annotated[
        str | None, typer.Option(metavar="X.Y", help="CUDA compute capability of that GPU.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Host memory that parts may wait in.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Models; see config/presets.")] = None,
    every: Annotated[bool, typer.Option("--all", help="One line for each usual card.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON.")] = False,
) -> int:
    """Print the memory plan of this machine, of a GPU described, or of all usual ones.

    Seconds are estimates, never measured here. The exit status is 1 where nothing fits.
    """
    if every:
        plans = [_of_usual(card, preset) for card in USUAL_CARDS]
        result(_json(plans) if as_json else "\n".join(overview(plans)))
        return 0
    settings = load_settings(preset)
    if vram is None:
        made = _of_this_machine(settings)
    else:
        card = _described(vram, capability, host)
        made = make_plan(card, settings.preset, rollback=settings.daemon.rollback.residency)
    result(json.dumps(made.as_json(), indent=2) if as_json else "\n".join(table(made)))
    return 0 if made.peak_bytes <= made.limit_bytes else 1


def parse_size(text: str) -> int:
    """Bytes of a text such as "12GiB", "24 GB" or "1073741824".

    Raises:
        BadOption: it is no size.
    """
    found = SIZE.fullmatch(text)
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or float(found[1]) * unit > MOST_BYTES:
        raise BadOption(f"{text!r} is no size; write it as 12GiB or 24GB")
    return int(float(found[1]) * unit)


def parse_capability(text: str) -> tuple[int, int]:
    """A compute capability such as "8.9".

    Raises:
        BadOption: it is none.
    """
    found = CAPABILITY.fullmatch(text.strip())
    if found is None:
        raise BadOption(f"{text!r} is no compute capability; write it as 8.9")
    return int(found[1]), int(found[2])


def _described(vram: str, capability: str | None, host: str | None) -> Card:
    size = parse_size(vram)
    able = parse_capability(capability) if capability else capability_of_size(size)
    memory = parse_size(host) if host else 2 * size
    return Card(f"a GPU of {vram}", size, size, able, memory)


def _of_this_machine(settings: Settings) -> MemoryPlan:
    with Reporter().task("looking at the device"):
        from miner.gpu.device import choose_device

        card = choose_device(settings.device).card()
    residency = settings.daemon.rollback.residency
    return make_plan(card, settings.preset, rollback=residency, installed=installed_here)


def _of_usual(card: Card, preset: str | None) -> tuple[str, MemoryPlan]:
    name = preset or preset_for(card)
    chosen = load_settings(name, environ={}).preset
    return name, make_plan(card, chosen, installed=assume_installed)


def _json(plans: list[tuple[str, MemoryPlan]]) -> str:
    return json.dumps([{"preset": name, **made.as_json()} for name, made in plans], indent=2)

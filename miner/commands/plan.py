"""``miner plan``: which part of the work would lie where on a card, in which numbers, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from miner.commands.console import Reporter, result
from miner.commands.plan_table import counts_table, overview, table
from miner.errors import BadOption
from miner.gpu.capability import assume_installed, installed_here
from miner.gpu.counted import Count
from miner.gpu.kernels import TORCH_ARCHES, arches_here
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.planner import make_plan
from miner.gpu.usual_cards import USUAL_CARDS, nominal_card, preset_for
from miner.settings import Settings, load_settings

UNITS = {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}
UNITS |= {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4}
SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)
CAPABILITY = re.compile(r"([0-9]{1,2})\.([0-9])")

MOST_BYTES = 1 << 50
MOST_GIB = 1024


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
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Build the networks without memory and compare their bytes."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON.")] = False,
) -> int:
    """Print the memory plan of this machine, of a GPU described, or of all usual ones.

    SIZE is the size in a card's name, of which torch sees less. Where workers hold one generator
    each (worker.spread) there is a plan for each kind of worker. Seconds are estimates, never
    measured here. The exit status is 1 where nothing fits, or where --verify finds a network
    whose bytes differ from the plan by more than 3 %.
    """
    if every:
        plans = [_of_usual(card, preset) for card in USUAL_CARDS]
        result(_json(plans) if as_json else "\n".join(overview(plans)))
        return 0
    settings = load_settings(preset)
    if vram is None:
        card, installed, arches = _this_machine(settings), installed_here, arches_here()
    else:
        card, installed = _described(vram, capability, host), assume_installed
        arches = TORCH_ARCHES
    made = {
        kind.primary: make_plan(
            card, settings.preset, rollback=kind, installed=installed, arches=arches
        )
        for kind in settings.daemon.worker_kinds
    }
    if verify:
        counted = {name: _counts(one, settings) for name, one in made.items()}
        result(_counts_json(counted) if as_json else _counts_text(counted))
        return 1 if any(count.is_off for counts in counted.values() for count in counts) else 0
    if settings.daemon.worker.spread:
        result(_by_generator(made, as_json))
    else:
        (one,) = made.values()
        result(json.dumps(one.as_json(), indent=2) if as_json else "\n".join(table(one)))
    return 0 if all(one.peak_bytes <= one.limit_bytes for one in made.values()) else 1


def _by_generator(made: Mapping[str, MemoryPlan], as_json: bool) -> str:
    if as_json:
        plans = [{"generator": name, **plan.as_json()} for name, plan in made.items()]
        return json.dumps(plans, indent=2)
    return "\n\n".join(
        "\n".join((f"a worker with {name} alone:", *table(plan))) for name, plan in made.items()
    )


def _counts(made: MemoryPlan, settings: Settings) -> list[Count]:
    with Reporter().task("building the networks without memory"):
        from miner.gpu.weights import WeightStore
        from miner.pipeline.verify import Verifier

        store = WeightStore(settings.weights, settings.preset.name)
        return list(Verifier(settings.preset, store).counts(made))


def _counts_text(counted: Mapping[str, list[Count]]) -> str:
    tables = {name: "\n".join(counts_table(counts)) for name, counts in counted.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return "\n\n".join(f"a worker with {name} alone:\n{table}" for name, table in tables.items())


def _counts_json(counted: Mapping[str, list[Count]]) -> str:
    return json.dumps(
        [
            {"generator": name, **asdict(count), "difference": count.difference}
            for name, counts in counted.items()
            for count in counts
        ],
        indent=2,
    )


def parse_size(text: str) -> int:
    """Bytes of a text such as "12GiB", "24 GB" or "1073741824B".

    Raises:
        BadOption: it is no size; a bare number is none.
    """
    found = SIZE.fullmatch(text)
    if found is not None and not found[2]:
        raise BadOption(f"{text!r} is no size without a unit; write it as {_with_unit(found[1])}")
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or float(found[1]) * unit > MOST_BYTES:
        raise BadOption(f"{text!r} is no size; write it as 12GiB or 24GB")
    return int(float(found[1]) * unit)


def _with_unit(number: str) -> str:
    """What was likely meant: no card has a thousand GiB, or as few bytes."""
    return f"{number}GiB" if float(number) < MOST_GIB else f"{number}B"


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
    able = parse_capability(capability) if capability else None
    memory = parse_size(host) if host else 2 * size
    return nominal_card(f"a GPU of {vram}", size, able, memory)


def _this_machine(settings: Settings) -> Card:
    with Reporter().task("looking at the device"):
        from miner.gpu.device import choose_device

        return choose_device(settings.device).card()


def _of_usual(card: Card, preset: str | None) -> tuple[str, MemoryPlan]:
    name = preset or preset_for(card)
    chosen = load_settings(name, environ={}).preset
    return name, make_plan(card, chosen, installed=assume_installed)


def _json(plans: list[tuple[str, MemoryPlan]]) -> str:
    return json.dumps([{"preset": name, **made.as_json()} for name, made in plans], indent=2)

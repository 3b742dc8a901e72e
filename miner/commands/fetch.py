"""``miner fetch``: downloads and verifies the weights that presets name, and those planned for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from miner.commands.console import result
from miner.dreamgaussian.settings import load_fit_settings
from miner.errors import DeviceError, OutputError
from miner.gpu.plan import Card
from miner.gpu.planner import make_plan
from miner.gpu.weights import Entry, WeightStore
from miner.settings import Settings, load_settings

EMBEDDED = "mini"
"""The preset whose models ship with the program, and are small already."""


def fetch(
    preset: Annotated[
        list[str] | None, typer.Option(help="Fetch for this preset; may be given several times.")
    ] = None,
    smaller_painters: Annotated[
        bool,
        typer.Option(help="Also the text-to-image models that may take the place of a large one."),
    ] = False,
    listed: Annotated[
        bool,
        typer.Option("--list", help="Print what would be fetched and its size; fetch nothing."),
    ] = False,
    build_gsplat: Annotated[
        bool,
        typer.Option(
            help="Also compile gsplat's CUDA kernels for this machine's cards, which takes minutes."
        ),
    ] = False,
) -> None:
    """Download and verify the weights of presets; what is there and whole is left alone.

    Where the memory of this machine's card makes a smaller text-to-image model take the place of
    the preset's, that one is fetched too.
    """
    chosen = [load_settings(name) for name in preset] if preset else [load_settings()]
    if listed:
        for settings in chosen:
            others = smaller_painters_of(settings, smaller_painters)
            for line in sizes(settings.preset.name, entries_of(settings, others)):
                result(line)
        return
    _download(chosen, smaller_painters)
    if build_gsplat:
        result(_build_gsplat())


def sizes(preset: str, entries: Sequence[Entry]) -> list[str]:
    """Lines that give the approximate size of each entry, what confirms it, and the sum."""
    lines = [
        f"{entry.name}: {_gigabytes(entry.bytes)}; "
        + (f"confirmed: {entry.confirmed}" if entry.confirmed else "not confirmed")
        for entry in entries
        if entry.source != "package"
    ]
    total = sum(entry.bytes for entry in entries)
    return [*lines, f"{preset}: about {_gigabytes(total)} of disk in all"]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _build_gsplat() -> str:
    """Builds the kernels; the line that says how it went.

    Raises:
        OutputError: the folder for them cannot be written.
        DeviceError: they could not be built.
    """
    from miner.rendering import gsplat_build  # torch: seconds, and only for this flag

    try:
        state = gsplat_build.build(again=True)
    except OSError as error:
        raise OutputError(
            f"the folder for gsplat's kernels cannot be written: {error.strerror or error}"
        ) from error
    if state.status != "ready":
        raise DeviceError(state.reason)
    return f"gsplat: kernels ready: {state.reason}"


def _download(chosen: Sequence[Settings], smaller_painters: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TransferSpeedColumn

    from miner.gpu.fetch import Fetcher

    console = Console(stderr=True, highlight=False)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done, total=total)

        for settings in chosen:
            fetcher = Fetcher(settings.weights, show, quiet=not console.is_terminal)
            others = smaller_painters_of(settings, smaller_painters)
            for entry in entries_of(settings, others):
                result(_terms(entry))
                result(f"{entry.name}: ready in {fetcher.fetch(entry)}")


def smaller_painters_of(settings: Settings, every: bool, card: Card | None = None) -> list[str]:
    """Text-to-image models to have beside the preset's own.

    Args:
        settings: of the preset, and of the plan.
        every: all that may take its place, not the one alone that would do so now.
        card: to plan for; this machine's, with what is free of it now, when not given.

    Raises:
        DeviceError: the device that the settings ask for is not there.
    """
    memory = settings.preset.memory
    own = settings.preset.text_to_image.weights
    if every:
        return [name for name in memory.smaller_painters if name != own]
    if not memory.allow_smaller_painter or settings.preset.name == EMBEDDED:
        return []
    card = card or _this_card(settings)
    plans = [make_plan(card, settings.preset, rollback=one) for one in settings.daemon.worker_kinds]
    return list(dict.fromkeys(plan.painter for plan in plans if plan.painter != own))


def _this_card(settings: Settings) -> Card:
    from miner.gpu.device import choose_device  # torch: seconds, and not always needed

    return choose_device(settings.device).card()


def entries_of(settings: Settings, painters: Sequence[str] = ()) -> list[Entry]:
    """The manifest entries that a preset refers to, and those of other painters, each once."""
    preset = settings.preset
    store = WeightStore(settings.weights, preset.name)
    sections = (preset.text_to_image, preset.background, preset.reconstruct)
    wanted = [*(section.weights for section in sections), *painters]
    if preset.self_check.mode != "off":
        wanted.append(preset.self_check.weights)
    if preset.dreamgaussian.config:
        guidance = load_fit_settings(preset.dreamgaussian.config).guidance
        wanted += [name for name in (guidance.weights, guidance.vae_weights) if name]
    found = [store.entry(reference) for reference in wanted]
    return list({entry.name: entry for entry in found if entry is not None}.values())


def _terms(entry: Entry) -> str:
    origin = {
        "package": "inside this package",
        "hub": f"{entry.repository} at {entry.revision}",
        "url": entry.url,
    }[entry.source]
    terms = f"licence {entry.licence}, commercial use: {entry.commercial}"
    gated = "; gated: needs an account that accepted its terms" if entry.gated else ""
    return f"{entry.name}: {origin}; {terms}{gated}"

"""``miner fetch``: downloads and verifies the weights that presets name."""

from __future__ import annotations

from typing import Annotated

import typer

from miner.commands.console import result
from miner.dreamgaussian.settings import load_fit_settings
from miner.gpu.weights import Entry, WeightStore
from miner.settings import Settings, load_settings


def fetch(
    preset: Annotated[
        list[str] | None, typer.Option(help="Fetch for this preset; may be given several times.")
    ] = None,
) -> None:
    """Download and verify the weights of presets; what is there and whole is left alone."""
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

        for settings in [load_settings(name) for name in preset] if preset else [load_settings()]:
            fetcher = Fetcher(settings.weights, show, quiet=not console.is_terminal)
            for entry in entries_of(settings):
                result(_terms(entry))
                result(f"{entry.name}: ready in {fetcher.fetch(entry)}")


def entries_of(settings: Settings) -> list[Entry]:
    """The manifest entries that a preset refers to, each once."""
    preset = settings.preset
    store = WeightStore(settings.weights, preset.name)
    sections = (preset.text_to_image, preset.background, preset.reconstruct)
    wanted = [section.weights for section in sections]
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

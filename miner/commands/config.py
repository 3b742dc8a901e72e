"""``miner config``: what the settings are, where they came from, and whether they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from miner.commands.console import result
from miner.settings import Loaded, load

config = typer.Typer(help="Show or check the settings.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="See config/miner.toml.")
]


@config.command()
def show(
    config_file: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Values only, as JSON.")] = False,
) -> None:
    """Print every setting that holds, and where it was set. Secrets are not among the settings."""
    loaded = load(config=config_file)
    if as_json:
        result(json.dumps(loaded.settings.model_dump(mode="json"), indent=2))
        return
    lines = list(_lines(loaded))
    width = min(60, max(len(text) for text, _ in lines))
    for text, origin in lines:
        result(f"{text:<{width}}  # {origin}" if origin else text)


@config.command()
def check(config_file: ConfigOption = None) -> None:
    """Say whether the settings hold; the exit status is 78 where they do not."""
    loaded = load(config=config_file)
    files = [layer.origin for layer in loaded.layers if layer.origin.endswith(".toml")]
    read = f"{files[0]} holds" if files else "no file was found, the defaults hold"
    result(f"ok: {read}; preset {loaded.settings.preset.name}")


def _lines(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """The settings as a file would say them, each with its origin."""
    settings = loaded.settings
    values = settings.daemon.model_dump(mode="json")
    top = {"preset": settings.preset.name, "device": settings.device, "weights": settings.weights}
    plain = {**top, **{k: v for k, v in values.items() if not isinstance(v, Mapping)}}
    yield from _section(loaded, "", plain)
    for name, section in values.items():
        if isinstance(section, Mapping):
            yield from _section(loaded, name, section)
    for name, section in settings.preset.model_dump(mode="json").items():
        if isinstance(section, Mapping):
            yield from _section(loaded, name, section, f"preset {settings.preset.name}")


def _section(
    loaded: Loaded, name: str, values: Mapping[str, Any], default: str = "default"
) -> Iterator[tuple[str, str]]:
    if name:
        yield "", ""
        yield f"[{name}]", ""
    for key, value in values.items():
        origin = loaded.origin(*((name, key) if name else (key,)))
        if value is None:
            yield f"# {key} is not set", ""
        else:
            yield f"{key} = {_toml(value)}", default if origin == "default" else origin


def _toml(value: Any) -> str:
    """JSON's spelling of numbers, texts, truth and lists is TOML's as well."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)

"""Where settings come from, and how they are put together; the only reader of the environment.

A value comes from the first of: the command line, the environment, the file, the default.
``MINER_PRESET``, ``MINER_DEVICE``, ``MINER_WEIGHTS``, ... are keys without a section;
``MINER_<SECTION>__<KEY>`` is a key of a section, of the preset's (``MINER_TEXT_TO_IMAGE__STEPS=2``)
or of the daemon's (``MINER_AXON__PORT=8091``).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from miner.errors import ConfigError
from miner.settings.preset import Preset
from miner.settings.section import Section

PACKAGE_DIR = Path(__file__).resolve().parent.parent
PREFIX = "MINER_"


class Settings(Section):
    """Everything a command needs to know before it builds a pipeline."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    weights: Path
    preset: Preset


def config_dir() -> Path:
    """The folder ``config``: inside an installed package, beside the package in a checkout."""
    installed = PACKAGE_DIR / "config"
    return installed if installed.is_dir() else PACKAGE_DIR.parent / "config"


def preset_names() -> list[str]:
    """The presets that ship with the program, sorted."""
    return sorted(path.stem for path in (config_dir() / "presets").glob("*.toml"))


def load_settings(
    preset: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this run.

    Args:
        preset: name of a preset, or path of a preset file ending in ``.toml``.
        flags: what the command line says, in the shape of ``Settings``; ``None`` values are absent.
        environ: the environment to read; the process's own when not given.

    Raises:
        ConfigError: an unknown preset or key, or a value out of its range; the text names the key.
    """
    environ = os.environ if environ is None else environ
    env = _from_environment(environ)
    name = preset or env.pop("preset", "mini")
    env.pop("preset", None)
    values: dict[str, Any] = {"weights": str(_default_weights(environ))}
    values |= {key: env.pop(key) for key in ("device", "weights") if key in env}
    values["preset"] = _merge({"name": Path(name).stem, **_read_preset(name)}, env)
    return _validate(Settings, _merge(values, flags or {}), f"preset {name}")


def let_idle_threads_sleep() -> None:
    """Threads that wait for others give up their core, unless the environment says otherwise.

    OpenMP's threads wait in a busy loop. Where another process wants the core, each waits for one
    that cannot run: two commands at once on two cores took eight to twenty times as long. Sleeping
    costs a fifth at most when alone. OpenMP reads the variable as torch loads it: call this before.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def _read_preset(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        return read_toml(Path(name))
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; there are: {', '.join(preset_names())}")
    return read_toml(config_dir() / "presets" / f"{name}.toml")


def _default_weights(environ: Mapping[str, str]) -> Path:
    """Where the XDG base directory specification puts a program's data."""
    data = environ.get("XDG_DATA_HOME", "")
    root = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return root / "splat-miner" / "weights"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Nested values of the variables with our prefix, as text: pydantic turns it into numbers."""
    values: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not key and section not in ("preset", "device", "weights"):
            raise ConfigError(f"{variable}: no such setting; unset it or mend its name")
        values = _merge(values, {section: {key: text} if key else text})
    return values


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` laid over it, section by section; None is absent."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            beneath = merged.get(key, {})
            merged[key] = _merge(beneath if isinstance(beneath, Mapping) else {}, value)
        elif value is not None:
            merged[key] = value
    return merged


def _validate(model: type[Settings], values: Mapping[str, Any], source: str) -> Settings:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]).removeprefix("preset.")
        raise ConfigError(f"{source}: {key}: {first['msg']}") from error

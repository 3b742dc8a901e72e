"""The places settings come from, each as a nested mapping under the name a person knows it by.

The environment is read by pydantic-settings: ``MINER_PRESET``, ``MINER_STATE_DIR``, ... are keys
without a section, ``MINER_<SECTION>__<KEY>`` is a key of a section, lists are JSON. A variable with
our prefix that names no setting is refused, and so is an unknown key in the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, SettingsError
from pydantic_settings.sources import EnvSettingsSource

from miner.errors import ConfigError

PREFIX = "MINER_"
DELIMITER = "__"


@dataclass(frozen=True)
class Layer:
    """One source of settings.

    Attributes:
        origin: as a person knows it: "command line", "environment" or the file's path.
        values: only what it sets; ``None`` values are absent.
    """

    origin: str
    values: Mapping[str, Any]

    def holds(self, location: tuple[str | int, ...]) -> bool:
        """Whether this source sets the key at ``location``, or a section on the way to it."""
        value: Any = self.values
        for part in location:
            if not isinstance(value, Mapping):
                break
            if part not in value:
                return False
            value = value[part]
        return value is not None


class _GivenEnvironment(EnvSettingsSource):
    """Reads the mapping it is given instead of the process's environment."""

    def __init__(self, model: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = {name.lower(): value for name, value in environ.items()}
        super().__init__(
            model, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter=DELIMITER
        )

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._environ)


def read_environment(
    model: type[BaseSettings], environ: Mapping[str, str], ignored: frozenset[str] = frozenset()
) -> Layer:
    """What the variables with our prefix say.

    Args:
        model: the settings they may name.
        environ: names and texts, ours and others.
        ignored: variables with our prefix that are no settings.

    Raises:
        ConfigError: a variable with our prefix names no setting, or is not the JSON it must be.
    """
    ours = {n: v for n, v in environ.items() if n.startswith(PREFIX) and n not in ignored}
    for name in sorted(ours):
        section, _, key = name.removeprefix(PREFIX).lower().partition(DELIMITER)
        field = model.model_fields.get(section)
        if field is None or (key and field.annotation in (str, Path)):
            raise ConfigError(f"{name}: no such setting; unset it or mend its name")
    try:
        return Layer("environment", _GivenEnvironment(model, ours)())
    except SettingsError as error:
        raise ConfigError(f"environment: {error}; lists are JSON, as in '[\"a\"]'") from error


def read_file(path: Path) -> Layer:
    """What a TOML file says.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    return Layer(str(path), read_toml(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` laid over it, section by section; None is absent."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            beneath = merged.get(key, {})
            merged[key] = merge(beneath if isinstance(beneath, Mapping) else {}, value)
        elif value is not None:
            merged[key] = value
    return merged

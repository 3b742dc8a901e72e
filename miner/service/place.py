"""Puts a unit where systemd finds it, and takes it away again.

Writes the unit, and a settings file where there is none; removes only units of ours. State,
settings and keys are never removed. Talks to systemd only where one runs.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from miner.errors import ConfigError, ControlError
from miner.files import make_folder, write_atomic
from miner.service.unit import MARK, Choices, render
from miner.settings import config_dir

UNITS = Path("/etc/systemd/system")
RUNS = Path("/run/systemd/system")
"""There wherever systemd is the service manager; see sd_booted(3)."""
SYSTEMCTL_SECONDS = 900.0


def install(choices: Choices, root: Path = Path("/")) -> Iterator[str]:
    """Writes the unit and has systemd read it; one line for each thing done.

    Args:
        choices: fitted to this machine.
        root: the folder to take for ``/``; with another systemd is not told.

    Raises:
        ConfigError: there is a unit of that name which is not ours.
        OutputError: a file cannot be written.
        ControlError: systemd refused.
    """
    unit = _below(root, UNITS / choices.unit_name)
    if unit.exists() and not _is_ours(unit):
        raise ConfigError(f"{unit}: is there and is not ours; move it away")
    settings = _below(root, choices.config)
    if not choices.template and not settings.exists():
        make_folder(settings.parent)
        _write(settings, (config_dir() / "miner.toml").read_bytes())
        yield f"wrote {settings}: the defaults, to be read through"
    make_folder(unit.parent)
    _write(unit, render(choices).encode())
    yield f"wrote {unit}"
    if root == Path("/"):
        _systemctl("daemon-reload")


def uninstall(name: str, root: Path = Path("/")) -> Iterator[str]:
    """Stops and removes the unit of that file name; one line for each thing done.

    Raises:
        ConfigError: there is none, or it is not ours.
        OutputError: it cannot be removed.
        ControlError: systemd refused.
    """
    unit = _below(root, UNITS / name)
    if not unit.exists():
        raise ConfigError(f"{unit}: is not there")
    if not _is_ours(unit):
        raise ConfigError(f"{unit}: is not ours, and stays")
    if root == Path("/"):
        instances = name.replace("@.", "@*.")
        _systemctl("stop", instances)
        _systemctl("disable", name)
    try:
        unit.unlink()
    except OSError as error:
        raise ConfigError(f"{unit}: cannot be removed: {error.strerror}") from error
    if root == Path("/"):
        _systemctl("daemon-reload")
    yield f"removed {unit}; settings in /etc/splat-miner and state in /var/lib are still there"


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _is_ours(unit: Path) -> bool:
    return unit.read_text(encoding="utf-8", errors="replace").startswith(MARK)


def _write(path: Path, data: bytes) -> None:
    write_atomic(path, data)
    path.chmod(0o644)  # the service's user reads it


def _systemctl(*words: str) -> None:
    if not RUNS.is_dir() or (program := shutil.which("systemctl")) is None:
        return
    try:
        subprocess.run(  # noqa: S603 - our own words
            [program, *words], check=True, capture_output=True, timeout=SYSTEMCTL_SECONDS, text=True
        )
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise ControlError(f"systemctl {' '.join(words)}: {said[-1] if said else error}") from error

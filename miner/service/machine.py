"""Fits the unit to this machine: which program, which settings, and what would keep it down.

A service runs as another user and sees little of the file system. What it could not reach is found
out here, in one line, and not by a start that fails. Changes nothing.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from miner.errors import ConfigError
from miner.service.unit import Choices
from miner.settings import PACKAGE_DIR, cuda_mask, load

HIDDEN = (Path("/root"), Path("/home"), Path("/run/user"))
"""What ProtectHome=yes takes away."""


def program() -> tuple[str, ...]:
    """How this very program is started again."""
    script = Path(sys.prefix) / "bin" / "miner"
    return (str(script),) if script.is_file() else (sys.executable, "-m", "miner")


def fit(choices: Choices) -> Choices:
    """The same choices with what the settings say, where their file is there to be read.

    Raises:
        ConfigError: the settings do not hold, or name what a service cannot use.
    """
    if choices.template or not choices.config.is_file():
        return choices
    # Not this shell's environment: the service will not have it.
    environ = {"HOME": "/nonexistent", "XDG_DATA_HOME": str(choices.data)}
    loaded = load(environ=environ, config=choices.config)
    if loaded.origin("state_dir") != "default":
        raise ConfigError(
            f"{choices.config}: state_dir: systemd gives the service a folder of its own "
            f"(/var/lib/{choices.folder}); take the key out"
        )
    daemon = loaded.settings.daemon
    if choices.gpu is not None:
        for gpu in daemon.worker.gpus:
            cuda_mask.within(gpu, {cuda_mask.VISIBLE: choices.gpu})
    signing = [one for one in daemon.identities if one.intakes]
    named = any(one.wallet.hotkey_file or one.wallet.name for one in signing)
    if named and choices.user is None:
        raise ConfigError(
            f"{choices.config}: wallet: systemd hands the hotkey to the service, which may read "
            "no other; take hotkey_file and name out, and give the file as --hotkey"
        )
    if choices.user is None and _is_hidden(loaded.settings.weights):
        raise ConfigError(
            f"{choices.config}: weights: a service cannot see {loaded.settings.weights}; "
            f"move them to {choices.data / 'splat-miner' / 'weights'} and take the key out"
        )
    return replace(
        choices,
        hotkey=choices.hotkey if signing else None,
        identities=tuple(one.name for one in signing),
        drain_seconds=daemon.queue.drain_seconds,
    )


def check(choices: Choices) -> Choices:
    """The same choices, once it is known that the service's user can reach what they name.

    Raises:
        ConfigError: it cannot; names the path.
    """
    visible = False
    for path in _needed(choices):
        hidden = _is_hidden(path)
        if hidden and (choices.user is None or path.is_relative_to("/root")):
            raise ConfigError(
                f"{path}: a service cannot see it; install the program outside of "
                f"{', '.join(map(str, HIDDEN))}, as in /opt/splat-miner/venv"
            )
        if choices.user is None:
            _check_open(path)
        visible = visible or hidden
    return replace(choices, home_visible=visible)


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in HIDDEN)


def _needed(choices: Choices) -> Iterator[Path]:
    """Every path the start goes through, links followed and as they stand."""
    if choices.program == program():
        yield from (PACKAGE_DIR, Path(sys.executable), Path(sys.executable).resolve())
    yield from (Path(choices.program[0]), Path(choices.program[0]).resolve())
    if not choices.template:
        yield choices.config


def _check_open(path: Path) -> None:
    """Whether any user may come to it."""
    for folder in path.parents:
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            raise ConfigError(
                f"{folder}: closed to the service's user, who needs {path}; open it "
                "(chmod o+x), install elsewhere, or name an account with --user"
            )
    if path.is_file() and not path.stat().st_mode & stat.S_IROTH:
        raise ConfigError(f"{path}: the service's user may not read it (chmod o+r)")

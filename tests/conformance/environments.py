"""Environments of the official library, one for each release, made when they are first needed.

They live in ``out/peers``, apart from our own: the releases cannot share one. Making one takes pip
and the internet about a minute; afterwards it is kept.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "out" / "peers"

REQUIREMENTS = {
    "10.5.0": ["bittensor==10.5.0"],
    # Unpinned, the second pulls a rival of scalecodec and the library no longer imports.
    "9.9.0": ["bittensor==9.9.0", "async-substrate-interface>=1.5,<1.6"],
}

INSTALL_SECONDS = 600.0


class Unavailable(Exception):
    """The environment is not there and could not be made."""


def interpreter(version: str) -> Path:
    """The Python of the environment that has this release of the official library.

    Raises:
        Unavailable: it is not there and pip could not make it.
    """
    folder = FOLDER / f"bittensor-{version}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _alone(FOLDER / f".{version}.lock"):
        if _release(folder) != version:
            _make(folder, REQUIREMENTS[version])
    return folder / "bin" / "python"


def environment() -> dict[str, str]:
    """Variables for those programs: nothing of the user's own wallets, settings and flags."""
    home = FOLDER / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": os.defpath, "HOME": str(home), "BT_NO_PARSE_CLI_ARGS": "true"}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _release(folder: Path) -> str | None:
    """The version installed in an environment, None where there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        return None
    script = "from importlib.metadata import version; print(version('bittensor'))"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _make(folder: Path, requirements: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", *requirements]
    for command in ([sys.executable, "-m", "venv", folder], pip):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Unavailable(f"installing {requirements} took too long") from error
        if done.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            last = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise Unavailable(f"could not install {requirements}: {last}")

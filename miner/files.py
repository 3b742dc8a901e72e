"""Files that appear whole or not at all: written beside their place, synced, then renamed.

A reader never sees half a file, and a crash, a full disk or an error in the writer leaves the old
file (or none) and no debris. Every failure of the operating system becomes one ``OutputError``.
What is in the files is no concern of this module.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from miner.errors import OutputError


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` at ``path``, replacing a file that is there.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or ``path`` is
            something other than a file.
    """
    with replacing(path) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new empty file beside ``path`` to write to; on a clean exit it becomes ``path``.

    The temporary name keeps the suffix, for writers that choose a format by it. Whatever leaves
    the block by an exception removes the temporary file and leaves ``path`` as it was.

    Raises:
        OutputError: as for ``write_atomic``. An ``OSError`` raised inside the block counts too:
            the block is there to write this file.
    """
    target = _resolve(path)
    partial = target.with_name(f".{secrets.token_hex(8)}.part{target.suffix}")
    try:
        _refuse_unsuitable(target)
        _create(partial)
        yield partial
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure that ``path`` is a folder, with its parents, and return it.

    Raises:
        OutputError: it cannot be made, or a file is in its place.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {_reason(error)}") from error
    return Path(path)


def _resolve(path: str | os.PathLike[str]) -> Path:
    """Through a link, so that the file is replaced and not the link."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:  # ValueError: a NUL among the characters
        raise OutputError(f"cannot write {str(path)!r}: {error}") from error


def _refuse_unsuitable(target: Path) -> None:
    """A rename would put a file in the place of a device or pipe, or fail late on a folder."""
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder; name a file in it")
    if target.exists() and not target.is_file():
        raise FileExistsError(None, "it is a device or pipe, not a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(None, f"there is no folder {target.parent}")


def _create(path: Path) -> None:
    """A new file of our own, with the permissions that the user's umask gives."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__

"""The lock of a state folder: one daemon, or one command that changes its journal, at a time.

An advisory ``flock`` on a file that stays: the kernel lets go of it when its holder ends in
whatever way. It does not hold on network file systems, and neither does SQLite.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from miner.errors import JournalError

NAME = "lock"


class FolderLock:
    """Holds ``folder``/lock until released.

    Raises:
        JournalError: another process holds it (it is named), or the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(self._descriptor)
            self.release()
            raise JournalError(f"{folder} is in use by a running daemon{holder}") from error
        except OSError as error:
            self.release()
            raise JournalError(f"cannot lock {path}: {error.strerror}") from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only its note is missing
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets others in; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holder(descriptor: int) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(os.pread(descriptor, 32, 0))})"
    return ""

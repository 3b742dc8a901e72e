"""The disk under the state folder: whether it can be written to, and what fits on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, warn
from miner.errors import ConfigError
from miner.journal.schema import NAME
from miner.settings import DaemonSettings

MIB = 1024 * 1024
LEAST_FREE_BYTES = 64 * MIB
"""A journal that cannot grow loses promises; results of an hour take some hundred MiB."""
MEND = "make room, or set another state_dir"


async def look_at_disk(case: Case) -> Finding:
    """In a thread: a network file system may hang."""
    return await in_thread(check_disk, case.settings.daemon)


def check_disk(settings: DaemonSettings) -> Finding:
    """Room for the journal now, and for all the results it may keep."""
    folder = existing(settings.state_dir)
    if not folder.is_dir():
        return fail(f"state_dir: {folder} is no folder", "", "set another state_dir", ConfigError)
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = "give it to the user who runs the daemon, or set another state_dir"
        return fail(f"state_dir: {folder} cannot be written to", "", mend, ConfigError)
    free = shutil.disk_usage(folder).free
    seen = f"{free // MIB:,} MiB are free at {folder}"
    if free < LEAST_FREE_BYTES:
        return fail(f"state_dir: {seen}", "too few for the journal", MEND, ConfigError)
    wanted = max(0, settings.journal.max_result_bytes - _size(settings.state_dir / NAME))
    if free < wanted + LEAST_FREE_BYTES:
        reason = f"results may come to take {wanted // MIB:,} MiB more"
        return warn(seen, reason, "make room, or lower journal.max_result_bytes")
    return ok(seen)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0

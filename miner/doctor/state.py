"""What the last life left, and whether another one goes on: the journal and its folder's lock.

Nothing is changed: no lock is taken, which would be in the way of a daemon that starts meanwhile.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from miner.doctor.asking import in_thread
from miner.doctor.case import Case
from miner.doctor.finding import Finding, fail, ok, one_line, skip, warn
from miner.errors import JournalError
from miner.journal import lock, schema
from miner.journal.check import check_journal, quick_check

DAMAGED = "what was promised may be lost"
MEND = "see: miner journal check; move the file away to begin anew"


async def look_at_daemon(case: Case) -> Finding:
    """One is running, or none, or one that holds the folder and does not answer."""
    folder = case.settings.daemon.state_dir
    holder = await in_thread(lock_holder, folder, case.host.root)
    if case.starting:
        if holder is None:
            return ok("none is running")
        line = f"{folder} is in use by a running daemon ({_process(holder)})"
        return fail(line, "", "see: miner ctl status", JournalError)
    status = await case.daemon()
    if status is not None:
        if status.get("ready"):
            return ok(f"running and ready, version {status.get('version')}")
        reasons = one_line("; ".join(map(str, status.get("reasons", ()))))
        return warn("running and not ready", reasons, "see its log, and miner ctl status")
    if holder is not None:
        line = f"{_process(holder)} holds {folder} and does not answer"
        return fail(line, "it hangs, or belongs to another user", "see its log, or end it")
    return ok("none is running")


async def look_at_journal(case: Case) -> Finding:
    """Whether the file is whole; with every result in it, where the look is deep."""
    folder = case.settings.daemon.state_dir
    if not (folder / schema.NAME).is_file():
        return skip("there is none yet", "the first start makes it")
    try:
        if case.deep:
            return await in_thread(_check_all, folder)
        version, faults = await in_thread(quick_check, folder)
    except JournalError as error:
        return fail(one_line(str(error)), DAMAGED, MEND, JournalError)
    if faults:
        return fail(one_line(f"damaged: {faults[0]}"), DAMAGED, MEND, JournalError)
    if version < schema.SCHEMA_VERSION:
        return ok(f"whole, of version {version}; the next start brings it up to date")
    return ok("whole")


def lock_holder(folder: Path, root: Path = Path("/")) -> int | None:
    """The process that holds the folder's lock, by the kernel's list of locks; None for nobody.

    Some file systems have another device in that list than for everybody else; on those nobody is
    found, and a start is then stopped by the lock itself.
    """
    try:
        state = (folder / lock.NAME).stat()
        lines = (root / "proc" / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    device = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}"
    for line in lines:  # "3: FLOCK  ADVISORY  WRITE 4242 fd:01:131090 0 EOF"
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == f"{device}:{state.st_ino}":
            return int(words[4])
    return None


def _process(number: int) -> str:
    """Processes of other containers have no number in ours; the kernel then says 0."""
    return f"process {number}" if number else "a process of another container"


def _check_all(folder: Path) -> Finding:
    report = check_journal(folder, time.time())
    if report.faults:
        line = f"{len(report.faults)} faults: {report.faults[0]}"
        return fail(one_line(line), DAMAGED, MEND)
    return ok(f"whole: {sum(report.jobs.values()):,} jobs, {report.results:,} results")

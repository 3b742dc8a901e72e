"""The journal as the daemon uses it: promises before they are made, outcomes when they exist.

One SQLite file in the state folder, one thread that owns it (``writer.py``), one event loop that
asks. What is awaited is on disk when the call returns, and survives a kill and a power cut; what is
only posted is on disk before anything awaited later. Not for network file systems.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from miner.errors import JournalError
from miner.files import make_folder
from miner.job import Asset, Job, Outcome
from miner.journal import memory
from miner.journal.lock import FolderLock
from miner.journal.record import JournalStats, Record, SweepReport
from miner.journal.schema import NAME, open_database
from miner.journal.store import Store
from miner.journal.sweep import give_back, sweep_some
from miner.journal.writer import Writer
from miner.settings.daemon import JournalSettings


class Files:
    """A state folder's lock, connection and tables, opened and closed in one thread.

    Raises:
        JournalError: held by another daemon, damaged, of a newer version, or not writable.
    """

    def __init__(self, folder: Path, settings: JournalSettings) -> None:
        self._lock = FolderLock(folder)
        try:
            self._connection = open_database(folder)
        except BaseException:
            self._lock.release()
            raise
        try:
            self.store = Store(self._connection, settings.max_result_bytes)
        except sqlite3.Error as error:
            self.close()
            raise JournalError(f"{folder / NAME} is damaged: {error}") from error

    def close(self) -> None:
        """Writes the log back into the database and lets go."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._connection.close()
            self._lock.release()


class Journal:
    """What survives the daemon. Made by ``open``, closed by ``close`` or ``async with``."""

    def __init__(
        self,
        folder: Path,
        settings: JournalSettings,
        writer: Writer,
        wall_clock: Callable[[], float],
    ) -> None:
        self._path = folder / NAME
        self._settings = settings
        self._writer = writer
        self._now = wall_clock
        self._store: Store | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        settings: JournalSettings,
        wall_clock: Callable[[], float] = time.time,
    ) -> Journal:
        """Takes the folder's lock and opens or makes the journal in it.

        Args:
            folder: the state folder; made when missing.
            settings: how long what is kept.
            wall_clock: unix seconds.

        Raises:
            JournalError: held by another daemon, damaged, of a newer version, or not writable.
            OutputError: the folder cannot be made.
        """
        make_folder(folder)
        journal = cls(folder, settings, Writer(partial(Files, folder, settings)), wall_clock)
        await journal.start()
        return journal

    async def start(self) -> None:
        """Opens the files; ``open`` does it."""
        try:
            self._store = (await self._writer.start()).store
        except asyncio.CancelledError:
            await self._writer.close()
            raise

    async def close(self) -> None:
        """Writes what is pending, checkpoints, and lets go of the lock."""
        await self._writer.close()

    async def __aenter__(self) -> Journal:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def failed(self) -> str | None:
        """Why nothing can be written at the moment; None while all is well."""
        return self._writer.failed

    # Jobs

    async def accept(self, job: Job, deadline_at: float) -> None:
        """Writes a job down: it is on disk when this returns. Cancelling does not take it back.

        Args:
            job: its ``deadline`` is not kept, as no other process could read it.
            deadline_at: the same in unix seconds.

        Raises:
            KnownTask: its task id (or id) is on record; nothing changed.
            JournalUnavailable: the disk refused; nothing changed.
        """
        key, now = job.spec.key, self._now()
        await self._writer.ask(lambda store: store.accept(job, key, deadline_at, now))

    def begin(self, job_id: str, attempts: int) -> None:
        """Notes, without waiting, that the job is begun; ``attempts`` counts this one."""
        now = self._now()
        self._writer.post(lambda store: store.begin(job_id, attempts, now))

    def put_back(self, job_id: str, attempts: int) -> None:
        """Notes, without waiting, that a begun job is queued again, with that many attempts."""
        self._writer.post(lambda store: store.put_back(job_id, attempts))

    async def finish(self, job_id: str, outcome: Outcome) -> None:
        """Writes the outcome, an asset included; of several calls for a job the first counts.

        Raises:
            JournalUnavailable: the disk refused; it is tried again by itself until it succeeds or
                the journal is closed.
        """
        now = self._now()
        await self._writer.ask(lambda store: store.finish(job_id, outcome, now), kept=True)

    def deliver(self, job_id: str) -> None:
        """Notes, without waiting, that the requester has the outcome."""
        now = self._now()
        self._writer.post(lambda store: store.deliver(job_id, now))

    async def find(self, job_id: str) -> Record | None:
        """The record of a job by our id."""
        return await self._writer.ask(lambda store: store.find(job_id), writes=False)

    async def find_task(self, identity: str, task_id: str) -> Record | None:
        """The record of an identity's job by the validator's id."""
        return await self._writer.ask(
            lambda store: store.find_task(identity, task_id), writes=False
        )

    async def find_result(self, identity: str, requester: str, spec_key: str) -> Record | None:
        """The newest kept result of an equal spec that a requester asked of an identity."""
        return await self._writer.ask(
            lambda store: store.find_result(identity, requester, spec_key), writes=False
        )

    async def recent(self, limit: int) -> list[Record]:
        """The jobs accepted last, newest first."""
        return await self._writer.ask(lambda store: store.recent(limit), writes=False)

    async def asset(self, job_id: str) -> Asset | None:
        """A job's result, while it is kept."""
        return await self._writer.ask(lambda store: store.asset(job_id), writes=False)

    async def unfinished(self) -> list[tuple[Job, float]]:
        """Jobs without outcome, oldest first, with their deadlines in unix seconds.

        The jobs' own ``deadline`` is infinite, for the caller to replace.
        """
        return await self._writer.ask(lambda store: store.unfinished(), writes=False)

    # Nonces, facts, decisions

    def remember_nonce(self, key: str, nonce: int, expires_at: float) -> None:
        """Keeps, without waiting, the highest nonce of a key; ``expires_at`` in unix seconds."""
        self._writer.post(lambda s: memory.remember_nonce(s.connection, key, nonce, expires_at))

    async def nonces(self) -> list[tuple[str, int, float]]:
        """Keys, their nonces and when they expire."""
        return await self._writer.ask(lambda s: memory.nonces(s.connection), writes=False)

    def forget_nonces(self, before: float) -> None:
        """Forgets, without waiting, what expired before this unix time."""
        self._writer.post(lambda s: memory.forget_nonces(s.connection, before))

    async def state(self, key: str) -> str | None:
        """A small fact by name."""
        return await self._writer.ask(lambda s: memory.fact(s.connection, key), writes=False)

    def set_state(self, key: str, value: str) -> None:
        """Keeps a small fact, without waiting, in the place of the earlier one."""
        self._writer.post(lambda s: memory.set_fact(s.connection, key, value))

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Appends a decision to the log, without waiting."""
        now, text = self._now(), json.dumps(dict(detail), default=str)
        self._writer.post(lambda s: memory.add_event(s.connection, now, kind, text))

    async def events(self, limit: int = 100, kind: str | None = None) -> list[memory.Event]:
        """The last decisions, or of those of one kind, oldest first."""
        return await self._writer.ask(
            lambda s: memory.events(s.connection, limit, kind), writes=False
        )

    # Upkeep

    async def sweep(self) -> SweepReport:
        """Forgets what expired; others are served between the bites.

        Raises:
            JournalUnavailable: the disk refused.
        """
        report = SweepReport()
        while True:
            now = self._now()
            some = await self._writer.ask(lambda s: sweep_some(s, self._settings, now))  # noqa: B023 - awaited in the same turn
            if some == SweepReport():
                break
            report = report.plus(some)
        await self._writer.ask(give_back)
        return report

    @property
    def stats(self) -> JournalStats:
        """How large the journal is and how it is doing, as of the last commit."""
        totals, writer = self._store.totals if self._store else None, self._writer
        jobs, unfinished, results, result_bytes = totals or (0, 0, 0, 0)
        return JournalStats(
            file_bytes=sum(_size(f"{self._path}{suffix}") for suffix in ("", "-wal")),
            jobs=jobs,
            unfinished=unfinished,
            results=results,
            result_bytes=result_bytes,
            commits=writer.commits,
            operations=writer.operations,
            commit_seconds=writer.commit_seconds,
            waiting=writer.waiting,
            kept=writer.kept,
            lost=writer.lost,
            failed=writer.failed,
        )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0

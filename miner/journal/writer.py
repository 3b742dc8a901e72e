"""The thread that owns the journal's connection, and group commit.

Everything pending at one moment goes into one transaction, whose cost is the disk's one sync; the
futures of all are resolved by one call into the event loop. Operations run in the order in which
they were given, so what was only posted is on disk before anything awaited later returns.

When the disk refuses a transaction, it is rolled back whole: whoever awaited gets an error, and
operations marked ``kept`` are tried again, before anything else, until the disk takes them. An
operation that fails by itself fails alone. The thread is a daemon: it never holds up the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from miner.errors import JournalUnavailable, MinerError
from miner.journal.schema import is_disk_error
from miner.journal.store import Store

T = TypeVar("T")

MAX_BATCH = 512
"""Operations in one transaction."""

LINGER_SECONDS = 0.02
"""How long what nobody awaits may wait for company; a sync for each would keep the disk busy."""

RETRY_SECONDS = 0.5
"""Between two tries of what a failing disk refused."""

MAX_KEPT = 20_000
"""Operations kept for another try; beyond, the oldest that nobody awaited are given up."""

log = logging.getLogger(__name__)


class Operation:
    """Something to do in the thread.

    Attributes:
        run: does it, given the store.
        future: gets the result; None where nobody waits.
        writes: False for what only reads; its failure is its own.
        kept: tried again when the disk refused it.
        awaited: whether somebody waited for it once.
    """

    __slots__ = ("awaited", "future", "kept", "run", "writes")

    def __init__(
        self,
        run: Callable[[Store], Any],
        future: asyncio.Future[Any] | None,
        writes: bool,
        kept: bool,
    ) -> None:
        self.run = run
        self.future = future
        self.writes = writes
        self.kept = kept
        self.awaited = future is not None


Result = tuple[asyncio.Future[Any], Any, Exception | None]


class Opened(Protocol):
    """What the thread opens, uses and closes."""

    @property
    def store(self) -> Store:
        """The tables."""

    def close(self) -> None:
        """Checkpoints and lets go of everything."""


class Writer:
    """Runs operations in a thread of its own.

    Attributes:
        failed: why the last commit failed; None while all is well.
        commits, operations, lost, commit_seconds: see ``JournalStats``.
    """

    def __init__(self, open_: Callable[[], Opened], max_kept: int = MAX_KEPT) -> None:
        self._open = open_
        self._max_kept = max_kept
        self._inbox: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Opened] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        # Below: written by the thread only, read by anyone.
        self.failed: str | None = None
        self.commits = 0
        self.operations = 0
        self.lost = 0
        self.commit_seconds = 0.0
        self._retry: list[Operation] = []

    # In the event loop

    async def start(self) -> Opened:
        """Starts the thread and returns what it opened, or raises what opening raised."""
        threading.Thread(target=self._main, name="journal", daemon=True).start()
        return await self._opened

    def ask(
        self, run: Callable[[Store], T], *, writes: bool = True, kept: bool = False
    ) -> asyncio.Future[T]:
        """Has ``run`` done, in a transaction if it ``writes``; the future ends when it is on disk.

        Cancelling the future does not undo the operation.

        Raises:
            JournalUnavailable: in the future, when the disk refused or the journal is closed.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(JournalUnavailable("the journal is closed"))
        else:
            self._inbox.put(Operation(run, future, writes, kept))
        return future

    def post(self, run: Callable[[Store], Any]) -> None:
        """Has ``run`` done in a transaction before anything given later; nobody waits for it.

        After ``close`` it is dropped, with a line in the log.
        """
        if self._closing:
            log.warning("the journal is closed: an entry is not written")
            return
        self._inbox.put(Operation(run, None, writes=True, kept=True))

    async def close(self) -> None:
        """Does what is pending, checkpoints, and returns when the thread has let go."""
        if not self._closing:
            self._closing = True
            self._inbox.put(None)
        await asyncio.shield(self._closed)  # one future, perhaps several who wait

    @property
    def waiting(self) -> int:
        """Operations not taken up yet."""
        return self._inbox.qsize()

    @property
    def kept(self) -> int:
        """Operations to be tried again."""
        return len(self._retry)

    # In the thread

    def _main(self) -> None:
        try:
            opened = self._open()
        except Exception as error:
            self._resolve([(self._opened, None, error), (self._closed, None, None)])
            return
        self._resolve([(self._opened, opened, None)])
        try:
            while True:
                batch, last = self._take()
                self._commit(opened.store, batch)
                if last:
                    break
            if self._retry:
                log.error("%d entries of the journal are lost: %s", len(self._retry), self.failed)
        finally:
            self._resolve([(self._closed, None, _close(opened))])

    def _take(self) -> tuple[list[Operation], bool]:
        """What is pending, at least one operation unless it is time to try again or to end."""
        batch: list[Operation] = []
        awaited = False
        until: float | None = time.monotonic() + RETRY_SECONDS if self._retry else None
        while len(batch) < MAX_BATCH:
            try:
                if awaited:
                    operation = self._inbox.get_nowait()
                elif until is None:
                    operation = self._inbox.get()
                else:
                    operation = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if operation is None:
                return batch, True
            batch.append(operation)
            awaited = awaited or operation.future is not None
            if until is None:
                until = time.monotonic() + LINGER_SECONDS
        return batch, False

    def _commit(self, store: Store, batch: list[Operation]) -> None:
        batch = self._retry + batch
        self._retry = []
        if not any(operation.writes for operation in batch):
            self._resolve([self._read(store, operation) for operation in batch])
            return
        started = time.monotonic()
        before = store.totals
        try:
            store.connection.execute("BEGIN IMMEDIATE")
            results = [self._run(store, operation) for operation in batch]
            store.connection.execute("COMMIT")
        except sqlite3.Error as error:
            store.totals = before
            with contextlib.suppress(sqlite3.Error):  # it may have rolled back by itself
                store.connection.execute("ROLLBACK")
            self._refused(store, batch, error)
            return
        self.commit_seconds = time.monotonic() - started
        self.commits += 1
        self.operations += len(batch)
        if self.failed is not None:
            log.warning("the journal is writable again")
            self.failed = None
        self._resolve([result for result in results if result is not None])

    def _run(self, store: Store, operation: Operation) -> Result | None:
        if not operation.writes:
            return self._read(store, operation)
        before = store.totals
        store.connection.execute("SAVEPOINT operation")
        try:
            value, failure = operation.run(store), None
        except Exception as error:
            if is_disk_error(error):
                raise
            store.totals = before
            store.connection.execute("ROLLBACK TO operation")
            value, failure = None, self._own_fault(operation, error)
        store.connection.execute("RELEASE operation")
        return None if operation.future is None else (operation.future, value, failure)

    def _read(self, store: Store, operation: Operation) -> Result:
        assert operation.future is not None, "nobody waits for what is read"
        try:
            return operation.future, operation.run(store), None
        except Exception as error:
            log.exception("the journal could not be read")
            return operation.future, None, _unavailable(error)

    def _own_fault(self, operation: Operation, error: Exception) -> Exception:
        if isinstance(error, MinerError):
            return error
        log.error("an entry of the journal could not be written", exc_info=error)
        self.lost += operation.kept
        return _unavailable(error)

    def _refused(self, store: Store, batch: list[Operation], error: sqlite3.Error) -> None:
        """After a roll-back: what reads is done without the rest, what writes is kept or fails."""
        if self.failed is None:
            log.error("the journal cannot be written: %s", error)
        self.failed = str(error)
        self._resolve(
            [
                (o.future, None, _unavailable(error)) if o.writes else self._read(store, o)
                for o in batch
                if o.future is not None
            ]
        )
        kept = [operation for operation in batch if operation.kept]
        for operation in kept:
            operation.future = None
        self._retry = self._bounded(kept)

    def _bounded(self, kept: list[Operation]) -> list[Operation]:
        """Without the oldest that nobody awaited, where there are too many."""
        excess = len(kept) - self._max_kept
        if excess <= 0:
            return kept
        dropped = [operation for operation in kept if not operation.awaited][:excess]
        self.lost += len(dropped)
        gone = set(map(id, dropped))
        return [operation for operation in kept if id(operation) not in gone]

    def _resolve(self, results: list[Any]) -> None:
        if results:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_set_results, results)


def _set_results(results: list[Result]) -> None:
    for future, value, error in results:
        if future.done():  # cancelled meanwhile
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _unavailable(error: Exception) -> JournalUnavailable:
    unavailable = JournalUnavailable(f"the journal cannot be used now: {error}")
    unavailable.__cause__ = error
    return unavailable


def _close(opened: Opened) -> Exception | None:
    try:
        opened.close()
    except Exception as error:
        log.exception("the journal could not be closed cleanly")
        return _unavailable(error)
    return None

"""The puller: asks validators for tasks while there is room to make them, and sees each to its end.

One event loop, one ``run``. At most one visit of a validator at a time, and each in a task of its
own: a slow or lying one holds up nobody else. Whose turn it is, ``choice.py`` says; what happens in
a turn, ``visit.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from miner.admission.peers import Peer, PeersSnapshot
from miner.admission.signature import Signer
from miner.network.puller import book, visit, workshop
from miner.network.puller.book import Book
from miner.network.puller.choice import Turns, eligible
from miner.network.puller.clocks import Clocks
from miner.network.puller.cooldowns import Cooldown
from miner.network.puller.report import line, readings
from miner.network.puller.visit import PullMetrics, Turn, Visitor
from miner.network.puller.wire import Caller, Wire
from miner.network.puller.workshop import Queue, Workers, Workshop
from miner.settings.pull import PullSettings

TICK_SECONDS = 1.0
"""Between two looks while a validator could be asked, had we room."""
IDLE_TICK_SECONDS = 10.0
"""Between two looks otherwise, at most: peers come and go, and clocks are set."""
MIN_TICK_SECONDS = 0.01
RESERVED_SECONDS = 2.0
"""A pull that is not answered by then holds no place any more: that validator is slow."""
FORGET_SECONDS = 600.0
FAULT_SECONDS = 300.0
"""Before a validator is visited again in whose visit we made a mistake."""

log = structlog.get_logger(__name__)


class Journal(book.Facts, workshop.Archive, visit.Log, Protocol):
    """What is needed of the journal."""


class Metrics(PullMetrics, Protocol):
    """What is counted and shown."""

    def validator(self, hotkey: str, readings: Mapping[str, float | None] | None) -> None:
        """How it stands with a validator; None where it is forgotten."""


@dataclass(frozen=True)
class PullParts:
    """What a puller works with.

    Attributes:
        signer: our hotkey, which signs submissions.
        caller: the client, which calls as the same hotkey.
        peers: the snapshot in use.
    """

    signer: Signer
    caller: Caller
    queue: Queue
    workers: Workers
    journal: Journal
    peers: Callable[[], PeersSnapshot]
    metrics: Metrics


class Puller:
    """Takes part in the subnet by asking.

    Args:
        parts: what it works with.
        settings: whom to ask, and how much may be in hand.
        max_peers_age_seconds: with an older snapshot nobody is asked.
        clocks: where the time comes from.
    """

    def __init__(
        self,
        parts: PullParts,
        settings: PullSettings,
        max_peers_age_seconds: float,
        clocks: Clocks | None = None,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._max_peers_age_seconds = max_peers_age_seconds
        self._clocks = clocks = clocks or Clocks()
        wire = Wire(parts.signer, parts.caller, settings, clocks)
        self._miner = wire.miner
        self._workshop = Workshop(
            parts.queue, parts.workers, parts.journal, self._miner, settings, clocks
        )
        self._book = Book(parts.journal, clocks.now)
        self._visitor = Visitor(
            wire, self._workshop, self._book, parts.journal, parts.peers, parts.metrics, settings
        )
        self._turns = Turns(settings)
        # Written by this object only.
        self._visits: dict[str, Turn] = {}
        self._wake = asyncio.Event()
        self._closed = False
        self._forget_at = clocks.steady() + FORGET_SECONDS

    async def run(self) -> None:
        """Pulls and submits until cancelled; what is in hand then, the next life goes on with.

        Raises:
            JournalUnavailable: what earlier lives knew cannot be read.
        """
        await self._book.load()
        self._workshop.subscribe(self._wake.set)
        async with asyncio.TaskGroup() as visits:
            while True:
                self._wake.clear()
                self._resume(visits)
                crowded = not self._begin(visits)
                self._keep_up()
                await self._pause(TICK_SECONDS if crowded else IDLE_TICK_SECONDS)

    async def settle(self, limit_seconds: float) -> None:
        """Asks for nothing more; returns when no result is on its way, or the limit is over.

        To be called when the queue has drained: what is finished is still brought.
        """
        self._closed = True
        until = self._clocks.steady() + limit_seconds
        while True:
            await self._clocks.sleep(MIN_TICK_SECONDS)
            sending = any(turn.state == "submitting" for turn in self._visits.values())
            if not sending or self._clocks.steady() >= until:
                return

    def report(self) -> list[dict[str, Any]]:
        """All validators, one line each; larger stake first."""
        now = self._clocks.now()
        peers = {peer.hotkey: peer for peer in self._eligible()}
        for hotkey in peers:
            self._book.entry(hotkey)
        lines = []
        for hotkey, entry in self._book:
            turn = self._visits.get(hotkey)
            state = None if turn is None else turn.state
            lines.append(line(hotkey, entry, peers.get(hotkey), state, now))
        return sorted(lines, key=lambda each: -(each["stake"] or 0.0))

    # Visits

    def _resume(self, visits: asyncio.TaskGroup) -> None:
        """Tasks in hand that nobody sees to: of an earlier life, or after a mistake of ours."""
        now = self._clocks.now()
        for hotkey in tuple(self._book.assignments):
            if hotkey not in self._visits and self._book.entry(hotkey).cooldown.over(now):
                self._visit(hotkey, visits)

    def _begin(self, visits: asyncio.TaskGroup) -> bool:
        """New tasks, as long as somebody may be asked and there is room for what they give.

        Returns:
            Whether everybody who may be asked is being asked.
        """
        now = self._clocks.now()
        snapshot = self._parts.peers()
        if self._closed or snapshot.age_seconds(now.steady) > self._max_peers_age_seconds:
            return True
        ready = {
            peer.hotkey: peer
            for peer in self._eligible()
            if peer.hotkey not in self._visits and self._book.entry(peer.hotkey).cooldown.over(now)
        }
        while ready and len(self._visits) < self._settings.in_flight:
            peer = self._turns.next(ready.values(), self._waiting)
            if peer is None or not self._room(peer):
                return False
            self._turns.taken()
            del ready[peer.hotkey]
            self._visit(peer.hotkey, visits)
        return True

    def _visit(self, hotkey: str, visits: asyncio.TaskGroup) -> None:
        turn = self._visits[hotkey] = Turn(self._clocks.steady())
        if self._book.assignment(hotkey) is not None:
            turn.state = "entering"
        visits.create_task(self._guarded(hotkey, turn), name=f"pull {hotkey}")

    async def _guarded(self, hotkey: str, turn: Turn) -> None:
        """A visit; a mistake of ours in it is logged, and costs that validator a pause."""
        try:
            await self._visitor.visit(hotkey, turn)
        except Exception as error:
            log.exception("visit_failed", validator=hotkey)
            entry = self._book.entry(hotkey)
            entry.failed(f"our mistake: {error!r}")
            pause = Cooldown.pause(FAULT_SECONDS, self._clocks.now())
            entry.cooldown = entry.cooldown.longer(pause)
            self._book.save()
        finally:
            del self._visits[hotkey]
            self._wake.set()

    def _eligible(self) -> tuple[Peer, ...]:
        return eligible(self._parts.peers(), self._miner, self._settings)

    def _waiting(self, peer: Peer) -> float:
        return self._clocks.steady() - self._book.entry(peer.hotkey).cooldown.steady_until

    def _room(self, peer: Peer) -> bool:
        fresh = self._clocks.steady() - RESERVED_SECONDS
        coming = sum(
            turn.state == "entering" or (turn.state == "pulling" and turn.began > fresh)
            for turn in self._visits.values()
        )
        free = self._book.entry(peer.hotkey).free_seconds
        return self._workshop.room(coming, free, peer.stake)

    # Between visits

    def _keep_up(self) -> None:
        """What is shown, and what may be forgotten."""
        now = self._clocks.now()
        for hotkey, entry in self._book:
            self._parts.metrics.validator(hotkey, readings(entry, now))
        if now.steady >= self._forget_at:
            self._forget_at = now.steady + FORGET_SECONDS
            peers = self._parts.peers()
            for hotkey in self._book.forget(lambda hotkey: peers.get(hotkey) is not None):
                self._parts.metrics.validator(hotkey, None)

    async def _pause(self, limit_seconds: float) -> None:
        """Until something may have changed."""
        now = self._clocks.now()
        waits = [
            entry.cooldown.left(now) for hotkey, entry in self._book if hotkey not in self._visits
        ]
        seconds = min((left for left in waits if left), default=limit_seconds)
        sleeping = asyncio.ensure_future(
            self._clocks.sleep(min(max(seconds, MIN_TICK_SECONDS), limit_seconds))
        )
        waking = asyncio.create_task(self._wake.wait())
        both: set[asyncio.Future[Any]] = {sleeping, waking}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)

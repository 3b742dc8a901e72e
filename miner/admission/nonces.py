"""The replay table: each signed nonce is good once, within a bounded window, also over restarts.

A nonce is the sender's wall clock in nanoseconds. For one hotkey and uuid each must be greater than
the one before. An entry can be forgotten when its nonce is too old to pass under any timeout, since
the timeout that widens the window is not signed and whoever replays may raise it to the cap.

Whatever is forgotten leaves a floor behind, under which nothing of that hotkey passes. This holds
in three cases: an entry that expired (and our clock was then set back); a full table, which drops
the oldest entry of the hotkey that has most, so that a flood narrows the flooder's own window and
nobody else's; a lane without entries, whose floor goes into the floor of all.

Over restarts the entries come back from storage. Storage is written without waiting, though before
any job that the request leads to: after a crash the last few nonces may be missing. So unless the
last life ended with ``close``, every nonce up to the moment of opening, and as far ahead as a
sender's clock may run, is refused. A clock that proves to have been far ahead then would so shut
everybody out; such a floor is given up. Limits: a clock set back across a crash, or by more than a
nonce's whole life after one, opens a gap of what that crash lost. One event loop; only ``open``
waits.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import Protocol

from miner.errors import NotVerified
from miner.settings.admission import AdmissionSettings

SECOND_NS = 1_000_000_000
SWEEP_SECONDS = 5.0
"""Between two walks over all hotkeys to forget what has expired."""
STATE_KEY = "admission.nonces"


class NonceStorage(Protocol):
    """Where nonces outlive the process; the journal."""

    def remember_nonce(self, key: str, nonce: int, expires_at: float) -> None:
        """Will be on disk before any job accepted later; ``expires_at`` in unix seconds."""

    async def nonces(self) -> list[tuple[str, int, float]]:
        """Everything remembered and not forgotten; what was given earlier is on disk by then."""

    def forget_nonces(self, before: float) -> None:
        """Forgets what expired before this unix time."""

    async def state(self, key: str) -> str | None:
        """A small fact by name."""

    def set_state(self, key: str, value: str) -> None:
        """Keeps a small fact, after everything that was remembered earlier."""


class _Lane:
    """What one hotkey has used."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.floor = 0
        # One item for each uuid, with a nonce it had once; corrected when it comes up.
        self._order: list[tuple[int, str]] = []

    def set(self, uuid: str, nonce: int) -> None:
        if uuid not in self.last:
            heapq.heappush(self._order, (nonce, uuid))
        self.last[uuid] = nonce

    def oldest(self) -> int | None:
        """The smallest nonce held."""
        while self._order:
            nonce, uuid = self._order[0]
            if self.last[uuid] == nonce:
                return nonce
            heapq.heapreplace(self._order, (self.last[uuid], uuid))
        return None

    def drop_oldest(self) -> None:
        nonce = self.oldest()
        assert nonce is not None
        del self.last[heapq.heappop(self._order)[1]]
        self.floor = max(self.floor, nonce)


class NonceTable:
    """The nonces in use. Only verified and permitted requests may be remembered."""

    def __init__(
        self,
        settings: AdmissionSettings,
        storage: NonceStorage | None = None,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._max_entries = settings.max_nonces
        self._max_timeout_ns = int(settings.max_nonce_timeout_seconds * SECOND_NS)
        self._window_ns = int(settings.nonce_window_seconds * SECOND_NS)
        self._skew_ns = int(settings.future_skew_seconds * SECOND_NS)
        self._storage = storage
        self._now_ns = wall_clock_ns
        # Written by this object only.
        self._lanes: dict[str, _Lane] = {}
        self._entries = 0
        self._floor = 0
        self._swept_at = 0

    @classmethod
    async def open(
        cls,
        settings: AdmissionSettings,
        storage: NonceStorage,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> NonceTable:
        """A table with what the last life remembered.

        Raises:
            JournalError: of the storage, as it comes.
        """
        table = cls(settings, storage, wall_clock_ns)
        ended = await storage.state(STATE_KEY)
        table._floor = table._first_floor(ended)
        storage.set_state(STATE_KEY, f"open {table._floor}")
        for key, nonce, _ in await storage.nonces():
            hotkey, _, uuid = key.partition(":")
            table._set(hotkey, uuid, nonce)
        return table

    def close(self) -> None:
        """Marks this life's end as clean; call it when nothing more is admitted."""
        if self._storage is None:
            return
        oldest = self._now_ns() - self._window_ns - self._max_timeout_ns
        floors = [lane.floor for lane in self._lanes.values() if lane.floor <= oldest]
        self._storage.set_state(STATE_KEY, f"closed {max([self._floor, *floors])}")

    def __len__(self) -> int:
        return self._entries

    def check_fresh(self, nonce: int, timeout_seconds: float) -> None:
        """Whether the nonce lies in the window, which the request's own timeout widens.

        Raises:
            NotVerified: too old, or too far ahead.
        """
        now = self._now_ns()
        timeout_ns = self._max_timeout_ns
        if not timeout_seconds * SECOND_NS >= timeout_ns:
            # A timeout that is negative or no number at all widens nothing.
            timeout_ns = int(timeout_seconds * SECOND_NS) if timeout_seconds > 0 else 0
        if nonce <= now - self._window_ns - timeout_ns:
            raise NotVerified("Nonce is too old")
        if nonce > now + self._skew_ns:
            raise NotVerified("Nonce lies in the future")

    def check_unused(self, hotkey: str, uuid: str, nonce: int) -> None:
        """Whether nothing so new was seen of this hotkey and uuid.

        Raises:
            NotVerified: a replay, or older than what was forgotten.
        """
        if self._floor > self._now_ns() + self._skew_ns + self._window_ns + self._max_timeout_ns:
            self._floor = 0
        lane = self._lanes.get(hotkey)
        used = max(self._floor, lane.floor if lane else 0, lane.last.get(uuid, 0) if lane else 0)
        if nonce <= used:
            raise NotVerified("Nonce is too old: it, or a newer one, was used before")

    def remember(self, hotkey: str, uuid: str, nonce: int) -> None:
        """Uses the nonce up. Nothing may wait between this and the two checks."""
        now = self._now_ns()
        if not 0 <= now - self._swept_at < SWEEP_SECONDS * SECOND_NS:
            self._sweep(now)
        if self._storage is not None:
            expires_ns = nonce + self._window_ns + self._max_timeout_ns
            self._storage.remember_nonce(f"{hotkey}:{uuid}", nonce, expires_ns / SECOND_NS)
        self._set(hotkey, uuid, nonce)

    def _first_floor(self, ended: str | None) -> int:
        match (ended or "").split():
            case ["closed", floor] if floor.isdecimal():
                return int(floor)
            case []:
                # No life before this one, or its folder is gone: nothing ran just now.
                return self._now_ns()
            case ["open", floor] if floor.isdecimal():
                return max(int(floor), self._now_ns() + self._skew_ns)
            case _:
                return self._now_ns() + self._skew_ns

    def _set(self, hotkey: str, uuid: str, nonce: int) -> None:
        lane = self._lanes.setdefault(hotkey, _Lane())
        self._entries += uuid not in lane.last
        lane.set(uuid, max(nonce, lane.last.get(uuid, 0)))
        if self._entries > self._max_entries:
            max(self._lanes.values(), key=lambda lane: len(lane.last)).drop_oldest()
            self._entries -= 1

    def _sweep(self, now: int) -> None:
        """Forgets what could not pass the window any more, in memory and in storage."""
        self._swept_at = now
        oldest = now - self._window_ns - self._max_timeout_ns
        for hotkey, lane in list(self._lanes.items()):
            while (nonce := lane.oldest()) is not None and nonce <= oldest:
                lane.drop_oldest()
                self._entries -= 1
            if not lane.last and lane.floor <= oldest:
                self._floor = max(self._floor, lane.floor)
                del self._lanes[hotkey]
        if self._storage is not None:
            self._storage.forget_nonces(now / SECOND_NS)

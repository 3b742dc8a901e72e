"""Watches the chain: brings the peers up to date, and says how we stand.

A task of its own beside the work: whatever the chain does, requests are served from the last
snapshot until that is too old. A failure is retried with a growing, jittered wait, on a new
connection; a connection is also replaced after ``MAX_READINGS``, because long-lived ones have been
seen to grow. How to talk to the chain is in ``chain.py``, what to publish in ``chain_publish.py``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from miner.admission.peers import PeersSource
from miner.errors import ChainError
from miner.metrics import IdentityMetrics
from miner.network.chain_memory import ChainMemory
from miner.network.chain_reading import ChainState, Reading, Served, Standing, standing
from miner.settings.subnet import ChainSettings

MAX_READINGS = 36
"""Of one connection: six hours at the default interval."""
STALL_SECONDS = 180.0
"""A chain makes a block in 12 s; a node that shows no new one for this long stands still."""
MAX_BACK_BLOCKS = 25
"""A reorganisation goes back by a few blocks; a node further behind is not up to date."""
FORGET_SECONDS = 3600.0
"""After as long without a reading, one far behind is believed: the chain may have begun anew."""

log = structlog.get_logger(__name__)


class Chain(Protocol):
    """A connection to the chain; every call ends within a limit and raises ``ChainError``."""

    async def read(self) -> Reading:
        """The subnet now."""

    async def serving_interval_blocks(self) -> int:
        """How many blocks must lie between two publications of one hotkey."""

    async def prometheus(self, hotkey: str) -> Served:
        """What this hotkey has published of its metrics."""

    async def serve_axon(self, ip: str, port: int) -> None:
        """Publishes where our axon is reached."""

    async def serve_prometheus(self, ip: str, port: int) -> None:
        """Publishes where our metrics are reached."""

    async def close(self) -> None:
        """Ends the connection; never fails."""


class Publisher(Protocol):
    """Keeps right what the chain says of us."""

    async def publish(self, chain: Chain, reading: Reading) -> None:
        """Writes to the chain if something has to be; raises ``ChainError``."""


@dataclass(frozen=True)
class Clocks:
    """Time and chance, to be replaced in tests.

    Attributes:
        now: ``time.monotonic()`` seconds.
        sleep: waits so many seconds.
        draw: a number from the first to the second, by chance.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[float, float], float] = random.uniform


class ChainWatch:
    """Syncs again and again.

    Args:
        hotkey: ours.
        settings: the subnet, and how often.
        connect: opens a connection; raises ``ChainError``.
        source: given each new snapshot. This class is its only writer while a chain is watched.
        metrics: told how we stand.
        memory: keeps the snapshot over restarts.
        publisher: told each reading.
        clocks: time and chance.
    """

    def __init__(
        self,
        hotkey: str,
        settings: ChainSettings,
        connect: Callable[[], Awaitable[Chain]],
        source: PeersSource,
        metrics: IdentityMetrics,
        memory: ChainMemory | None = None,
        publisher: Publisher | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._hotkey = hotkey
        self._settings = settings
        self._connect = connect
        self._source = source
        self._metrics = metrics
        self._memory = memory
        self._publisher = publisher
        self._clocks = clocks or Clocks()
        # All below is written by run() alone.
        self._chain: Chain | None = None
        self._readings = 0  # of this connection
        self._advanced: tuple[int, float] | None = None  # highest block, and when it was new
        self._standing: Standing | None = None
        self._failures = 0
        self._last_error: str | None = None

    @property
    def state(self) -> ChainState:
        """How it is now."""
        return ChainState(
            self._settings.network,
            self._settings.netuid,
            self._standing,
            self._failures,
            self._last_error,
        )

    def troubles(self, max_age_seconds: float) -> list[str]:
        """What of the chain keeps us from taking work, one line each.

        Args:
            max_age_seconds: an older snapshot is not used.
        """
        found = []
        snapshot, netuid = self._source(), self._settings.netuid
        age = snapshot.age_seconds(self._clocks.now())
        if not snapshot.peers:
            found.append(f"the metagraph of netuid {netuid} was not read yet{self._because()}")
        elif age > max_age_seconds:
            found.append(f"the metagraph is {age:.0f} s old{self._because()}")
        if self._standing is not None and not self._standing.registered:
            found.append(f"our hotkey is not registered on netuid {netuid}")
        return found

    async def restore(self) -> None:
        """Begins with the peers of the last life, as old as they are; before anybody is served."""
        snapshot = await self._memory.recall() if self._memory else None
        if snapshot is not None:
            self._source.replace(snapshot)
            age = snapshot.age_seconds(self._clocks.now())
            log.info("peers_recalled", peers=len(snapshot.peers), age_seconds=round(age))

    async def run(self) -> None:
        """Syncs until cancelled. Nothing the chain does ends it."""
        try:
            while True:
                wait_seconds = await self._turn()
                await self._clocks.sleep(wait_seconds)
        finally:
            await self._let_go()

    async def _turn(self) -> float:
        """One attempt; the seconds to wait before the next."""
        began = self._clocks.now()
        try:
            reading = await self._read()
        except ChainError as error:
            return await self._failed(error)
        self._metrics.chain_synced("ok", self._clocks.now() - began)
        self._accept(reading)
        await self._publish(reading)
        jitter = self._settings.jitter
        return self._settings.sync_seconds * self._clocks.draw(1 - jitter, 1 + jitter)

    async def _read(self) -> Reading:
        if self._chain is not None and self._readings >= MAX_READINGS:
            await self._let_go()
        if self._chain is None:
            self._chain = await self._connect()
        reading = await self._chain.read()
        self._readings += 1
        self._check_current(reading)
        return reading

    def _check_current(self, reading: Reading) -> None:
        """Refuses what a node shows that has fallen behind.

        Raises:
            ChainError: it has.
        """
        now = self._clocks.now()
        if self._advanced is None or reading.block > self._advanced[0]:
            self._advanced = (reading.block, now)
            return
        block, since = self._advanced
        quiet_seconds = now - since
        behind = block - reading.block
        if behind > MAX_BACK_BLOCKS:
            if quiet_seconds < FORGET_SECONDS:
                raise ChainError(f"the node is {behind} blocks behind what was read before")
            self._advanced = (reading.block, now)
        elif quiet_seconds > STALL_SECONDS:
            raise ChainError(f"no new block since {quiet_seconds:.0f} s: the node stands still")

    def _accept(self, reading: Reading) -> None:
        snapshot = reading.snapshot(self._clocks.now())
        self._source.replace(snapshot)
        if self._memory is not None:
            self._memory.keep(snapshot)
        before, now = self._standing, standing(reading, self._hotkey)
        self._standing = now
        self._metrics.standing(now)
        self._tell(before, now)
        if self._failures:
            log.info("chain_is_back", block=reading.block, after_failures=self._failures)
        self._failures, self._last_error = 0, None

    def _tell(self, before: Standing | None, now: Standing) -> None:
        """One line when something has changed that an operator must know."""
        about = {"hotkey": self._hotkey, "netuid": self._settings.netuid, "block": now.block}
        was_registered = before.registered if before is not None else None
        if not now.registered and was_registered is not False:
            event = "deregistered" if was_registered else "not_registered"
            hint = "validators give it no work and it earns nothing until it is registered again"
            log.error(event, **about, hint=hint)
        elif now.registered and not was_registered:
            log.info("registered", **about, uid=now.uid, rank=now.rank, of=now.neurons)
        elif before is not None and now.uid != before.uid:
            log.warning("uid_changed", **about, uid=now.uid, before=before.uid)

    async def _publish(self, reading: Reading) -> None:
        if self._publisher is None or self._chain is None:
            return
        try:
            await self._publisher.publish(self._chain, reading)
        except ChainError as error:
            log.warning("not_published", reason=str(error))
            await self._let_go()

    async def _failed(self, error: ChainError) -> float:
        await self._let_go()
        self._failures += 1
        self._last_error = str(error)
        self._metrics.chain_synced("failed", None)
        exponent = min(self._failures - 1, 30)
        limit = min(self._settings.max_retry_seconds, self._settings.retry_seconds * 2**exponent)
        wait_seconds = self._clocks.draw(limit / 2, limit)
        log.warning(
            "chain_not_read",
            reason=str(error),
            failures=self._failures,
            again_in_seconds=round(wait_seconds, 1),
        )
        return wait_seconds

    async def _let_go(self) -> None:
        chain, self._chain, self._readings = self._chain, None, 0
        if chain is not None:
            await chain.close()

    def _because(self) -> str:
        return f": {self._last_error}" if self._last_error else ""

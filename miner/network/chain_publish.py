"""Keeps right what the chain says about where we are reached: the axon, and the metrics if wanted.

The chain is written only when it shows something else, never sooner after the last writing than
its own rate limit allows, and never while our server is closed or our hotkey is not registered. The
last writing is read from the chain itself, so the limit holds over restarts as well. Each writing
costs the hotkey's owner a fee.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import structlog

from miner.errors import ChainError
from miner.metrics import IdentityMetrics
from miner.network.chain_reading import Reading, endpoint
from miner.network.chain_watch import Chain
from miner.settings import AxonSettings
from miner.settings.listening import DETECT

AXON = "axon"
METRICS = "metrics"
DETECT_SECONDS = 3600.0
"""How long a detected address is taken for ours: some change by the day."""
UNKNOWN_INTERVAL_BLOCKS = 50
"""Between two attempts where the chain's limit is not read: its default, ten minutes."""

log = structlog.get_logger(__name__)


class AddressPublisher:
    """Implements ``chain_watch.Publisher``.

    Args:
        hotkey: ours.
        settings: the external address, and whether to publish.
        addresses: URLs of our servers by name, of those that are open.
        metrics: told what came of each writing.
        detect: finds the external address out; raises ``ChainError``.
        clock: ``time.monotonic`` seconds.
    """

    def __init__(
        self,
        hotkey: str,
        settings: AxonSettings,
        addresses: Callable[[], Mapping[str, str]],
        metrics: IdentityMetrics,
        detect: Callable[[], Awaitable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hotkey = hotkey
        self._settings = settings
        self._addresses = addresses
        self._metrics = metrics
        self._detect = detect
        self._clock = clock
        self._detected: tuple[str, float] | None = None
        self._attempts: dict[str, int] = {}  # block of the last one, by what was written

    async def publish(self, chain: Chain, reading: Reading) -> None:
        """Writes to the chain what is not so there.

        Raises:
            ChainError: it could not be read or written, or our address is not known.
        """
        own = reading.neuron(self._hotkey)
        if self._settings.publish == "never" or not self._settings.external_ip or own is None:
            return
        axon_port, metrics_port = self._port(AXON), self._port(METRICS)
        if axon_port is None:
            return
        ip = await self._ip()
        wanted = self._settings.external_port or axon_port
        if own.axon != endpoint(ip, wanted) and await self._may(
            AXON, chain, reading.block, own.served_at
        ):
            await self._write(AXON, chain.serve_axon, ip, wanted)
        if self._settings.serve_prometheus and metrics_port is not None:
            served = await chain.prometheus(self._hotkey)
            if served.address != endpoint(ip, metrics_port) and await self._may(
                METRICS, chain, reading.block, served.block
            ):
                await self._write(METRICS, chain.serve_prometheus, ip, metrics_port)

    def _port(self, server: str) -> int | None:
        """Where one of our servers listens; None while it does not."""
        address = self._addresses().get(server)
        return urlsplit(address).port if address else None

    async def _ip(self) -> str:
        if self._settings.external_ip != DETECT:
            return self._settings.external_ip
        now = self._clock()
        if self._detected is None or now - self._detected[1] > DETECT_SECONDS:
            self._detected = (await self._detect(), now)
            log.info("external_address", ip=self._detected[0])
        return self._detected[0]

    async def _may(self, what: str, chain: Chain, block: int, served_at: int) -> bool:
        """Whether the chain's limit leaves room for a writing now; then it counts as attempted.

        A failed attempt counts as well: whatever it failed for, it is not tried at every reading.
        """
        interval = await chain.serving_interval_blocks() or UNKNOWN_INTERVAL_BLOCKS
        last = max(served_at, self._attempts.get(what, 0))
        if last > block:  # the chain has begun anew, or gone back
            last = 0
        if last and block - last < interval:
            log.debug("publishing_waits", what=what, blocks=interval - (block - last))
            return False
        self._attempts[what] = block
        return True

    async def _write(
        self, what: str, call: Callable[[str, int], Awaitable[None]], ip: str, port: int
    ) -> None:
        address = endpoint(ip, port)
        try:
            await call(ip, port)
        except ChainError:
            self._metrics.chain_published(what, "failed")
            raise
        self._metrics.chain_published(what, "ok")
        log.info("published", what=what, address=address)

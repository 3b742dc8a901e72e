"""One hotkey in service: its peers, its axon, the validators and gateways that it asks.

``run`` opens and joins all of that, and takes it down again. What breaks in it ends that one run;
who begins it anew, and what the others do meanwhile, is the business of ``identities.py``. The
queue, the workers and the journal's file are shared, each through a view of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miner.admission.gate import Gate
from miner.admission.nonces import NonceTable
from miner.admission.peers import PeersSnapshot, PeersSource
from miner.admission.signature import Signer
from miner.app import preflight
from miner.app.watching import chain_watch
from miner.executor import Executor
from miner.job_queue import IdentityQueue
from miner.journal import Partition
from miner.metrics import IdentityMetrics, Metrics
from miner.network.axon import Axon
from miner.network.chain_reading import ChainState
from miner.network.dendrite import Dendrite
from miner.network.gateway.client import GatewayClient
from miner.network.gateway.intake import GatewayIntake
from miner.network.intake import ValidatorIntake
from miner.network.puller import Puller, PullParts
from miner.network.server import serve
from miner.settings import IdentitySettings, QueueSettings

AXON, METRICS = "axon", "metrics"
"""What a chain may be told the addresses of."""

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Of a validator; the picture of a task takes a few megabytes."""

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something to be run until it is cancelled."""


@dataclass(frozen=True)
class Shared:
    """What an identity has in common with the others, or its own view of that.

    Attributes:
        metrics: its own view of them.
        servers: where connections are counted.
        addresses: where each server of the daemon listens, by its name; its own are added.
    """

    metrics: IdentityMetrics
    servers: Metrics
    journal: Partition
    queue: IdentityQueue
    executor: Executor
    addresses: dict[str, str]


class Identity:
    """One hotkey in service.

    Args:
        settings: its own.
        keypair: the hotkey; None where no intake signs.
        shared: what it works with.
        queue_settings: limits of what it takes on.
        substrate: makes what stands in for the chain's network; see ``Connections``.

    Attributes:
        settings: those that hold; a reload replaces them.
        trouble: why it does not run, in one line; None while it does.
        opened: set once it is known whether it could begin.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        keypair: Signer | None,
        shared: Shared,
        queue_settings: QueueSettings,
        substrate: Callable[[], Any] | None = None,
    ) -> None:
        self.settings = settings
        self.trouble: str | None = "starting"
        self.opened = asyncio.Event()
        self._keypair = keypair
        self._shared = shared
        self._queue_settings = queue_settings
        self.peers_source = PeersSource(preflight.initial_peers(settings.chain.network))
        self._watch = chain_watch(
            settings,
            keypair,
            self.peers_source,
            shared.journal,
            shared.metrics,
            self._published,
            substrate,
        )
        # While it runs:
        self._gate: Gate | None = None
        self._intake: ValidatorIntake | None = None
        self._puller: Puller | None = None
        self._gateway: GatewayIntake | None = None

    # Its life

    async def run(self) -> None:
        """Serves until cancelled.

        Raises:
            BindError: its axon cannot listen.
            JournalUnavailable: what earlier lives knew cannot be read.
            ExceptionGroup: a part failed while running.
        """
        try:
            async with contextlib.AsyncExitStack() as stack:
                parts = await self._open(stack)
                async with asyncio.TaskGroup() as tasks:
                    for part in parts:
                        tasks.create_task(part())
                    self.trouble = None
                    self.opened.set()
                    await asyncio.Event().wait()
        finally:
            self._gate = self._intake = self._puller = self._gateway = None

    def fell(self, reason: str) -> None:
        """It does not run any more, or could not begin to."""
        self.trouble = reason
        self.opened.set()
        self._shared.metrics.failed()

    async def settle(self, limit_seconds: float) -> None:
        """Brings what is finished, as far as the limit allows; nothing more is asked for."""
        settling = (one.settle(limit_seconds) for one in (self._gateway, self._puller) if one)
        await asyncio.gather(*settling)

    def reconfigure(
        self, settings: IdentitySettings, queue: QueueSettings, peers: PeersSnapshot
    ) -> None:
        """Lets new settings hold, as far as they can while it runs.

        Args:
            settings: its own.
            queue: limits of what it takes on.
            peers: those that the settings begin with.
        """
        self.settings, self._queue_settings = settings, queue
        if not settings.chain.is_live:  # else they are the watch's
            self.peers_source.replace(peers)
        if self._gate is not None and self._intake is not None:
            self._gate.reconfigure(settings.admission)
            self._intake.settings = queue

    # How it is

    @property
    def name(self) -> str:
        """In logs, metrics and the journal."""
        return self.settings.name

    @property
    def hotkey(self) -> str | None:
        """Ours, where something signs."""
        return self._keypair.ss58_address if self._keypair else None

    @property
    def peers(self) -> PeersSnapshot | None:
        """The subnet's hotkeys, where validators are served."""
        return self.peers_source() if self._keypair else None

    @property
    def chain(self) -> ChainState | None:
        """How it is with the chain, where one is watched."""
        return self._watch.state if self._watch else None

    @property
    def waiting(self) -> int:
        """Its jobs that wait."""
        return self._shared.queue.snapshot().depth

    def reasons(self) -> list[str]:
        """What keeps it from taking work, one line each."""
        found = [self.trouble] if self.trouble else []
        if self._watch is not None:
            found += self._watch.troubles(self.settings.admission.max_peers_age_seconds)
        return found

    def validators(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks."""
        return self._puller.report() if self._puller else ()

    def gateways(self) -> Sequence[Mapping[str, Any]]:
        """Those that are asked for tasks."""
        return self._gateway.lines() if self._gateway else ()

    def read(self, now: float) -> None:
        """Brings its gauges up to date; ``now`` is ``time.monotonic()`` seconds."""
        metrics, snapshot = self._shared.metrics, self.peers_source()
        metrics.now(not self.reasons(), self.waiting)
        metrics.peers(len(snapshot.peers), snapshot.age_seconds(now))

    # Its parts

    async def _open(self, stack: contextlib.AsyncExitStack) -> list[Part]:
        """Opens the door that validators come by; what there is to run beside it."""
        if self._keypair is None:
            return []
        parts: list[Part] = []
        if self._watch is not None:
            await self._watch.restore()
        intakes = self.settings.intakes
        if "gateway" in intakes:
            self._gateway = self._make_gateway(self._keypair)
            parts.append(self._gateway.run)
        if "pull" in intakes:
            self._puller = await self._make_puller(stack, self._keypair)
            parts.append(self._puller.run)
        if "axon" in intakes:
            await self._open_axon(stack, self._keypair)
        if self._watch is not None:  # after the axon: it may publish where that is
            parts.append(self._watch.run)
        return parts

    async def _open_axon(self, stack: contextlib.AsyncExitStack, keypair: Signer) -> None:
        shared, settings = self._shared, self.settings
        nonces = await NonceTable.open(settings.admission, shared.journal)
        stack.callback(nonces.close)
        self._gate = Gate(keypair.ss58_address, settings.admission, self.peers_source, nonces)
        self._intake = ValidatorIntake(
            shared.queue, shared.journal, self._queue_settings, keypair.ss58_address
        )
        axon = Axon(
            keypair,
            self._gate,
            self._intake.handlers(),
            shared.metrics,
            settings.axon,
            self._server,
        )
        listening = await stack.enter_async_context(
            serve(
                axon.handle,
                name=self._server,
                host=settings.axon.host,
                port=settings.axon.port,
                limits=settings.axon,
                metrics=shared.servers,
            )
        )
        shared.addresses[self._server] = listening.url
        stack.callback(shared.addresses.pop, self._server)

    async def _make_puller(self, stack: contextlib.AsyncExitStack, keypair: Signer) -> Puller:
        shared = self._shared
        dendrite = Dendrite(keypair, max_reply_bytes=MAX_REPLY_BYTES)
        works_with = PullParts(
            keypair,
            await stack.enter_async_context(dendrite),
            shared.queue,
            shared.executor,
            shared.journal,
            self.peers_source,
            shared.metrics,
        )
        max_age = self.settings.admission.max_peers_age_seconds
        return Puller(works_with, self.settings.pull, max_age)

    def _make_gateway(self, keypair: Signer) -> GatewayIntake:
        shared, settings = self._shared, self.settings.gateway
        client = GatewayClient(keypair, settings)
        return GatewayIntake(
            client, shared.queue, shared.journal, shared.executor, shared.metrics, settings
        )

    @property
    def _server(self) -> str:
        """What its axon is called among the daemon's servers."""
        return self.settings.server(AXON)

    def _published(self) -> Mapping[str, str]:
        """Where our servers listen that a chain may be told of, by what it calls them."""
        found = {AXON: self._server, METRICS: METRICS}
        known = self._shared.addresses
        return {what: known[server] for what, server in found.items() if server in known}

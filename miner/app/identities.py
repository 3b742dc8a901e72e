"""All hotkeys in service: each is kept running by itself, so that a fault of one is its own.

An identity that breaks, or cannot begin, is begun anew with a wait that doubles; the others, the
queue and the workers know nothing of it. Where there is only one its fault is the daemon's, which
ends, and is restarted by whoever runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from structlog.contextvars import bound_contextvars

from miner.app.causes import cause
from miner.app.identity import Identity
from miner.app.preflight import initial_peers
from miner.job import MAIN
from miner.settings import IdentitySettings, QueueSettings

FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0
STEADY_SECONDS = 300.0
"""One that ran for so long begins with the first wait again."""

log = structlog.get_logger(__name__)


class Identities:
    """Keeps them.

    Args:
        all_of_them: at least one; the first is shown where there is room for one.
        clock: monotonic seconds.
        sleep: waits between two lives of one.
    """

    def __init__(
        self,
        all_of_them: Sequence[Identity],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.all = tuple(all_of_them)
        self._clock = clock
        self._sleep = sleep

    @property
    def first(self) -> Identity:
        """The one that is shown where there is room for one."""
        return self.all[0]

    async def run(self) -> None:
        """Keeps all until cancelled.

        Raises:
            MinerError: of the only one there is.
        """
        async with asyncio.TaskGroup() as tasks:
            for identity in self.all:
                tasks.create_task(self._keep(identity), name=f"identity {identity.name}")

    async def opened(self) -> None:
        """Returns when it is known of each whether it could begin."""
        for identity in self.all:
            await identity.opened.wait()

    async def settle(self, limit_seconds: float) -> None:
        """Each brings what is finished, as far as the limit allows."""
        await asyncio.gather(*(identity.settle(limit_seconds) for identity in self.all))

    def reconfigure(self, settings: Sequence[IdentitySettings], queue: QueueSettings) -> None:
        """Lets new settings hold for those that have their name there, or for none.

        Raises:
            ConfigError: a file of peers is not right; nothing was changed.
        """
        by_name = {one.name: one for one in settings}
        known = [(one, by_name[one.name]) for one in self.all if one.name in by_name]
        ready = [(one, new, initial_peers(new.chain.network)) for one, new in known]
        for identity, new, peers in ready:
            identity.reconfigure(new, queue, peers)

    def reasons(self) -> list[str]:
        """What keeps new work from being taken; nothing while one identity takes some."""
        found = {identity.name: identity.reasons() for identity in self.all}
        if not all(found.values()):
            return []
        if len(found) == 1:
            return found[self.first.name]
        return [f"identity {name}: {line}" for name, lines in found.items() for line in lines]

    async def _keep(self, identity: Identity) -> None:
        whose = {} if identity.name == MAIN else {"identity": identity.name}
        wait = FIRST_WAIT_SECONDS
        with bound_contextvars(**whose):
            while True:
                began = self._clock()
                try:
                    await identity.run()
                except Exception as error:
                    if len(self.all) == 1:
                        raise
                    reason = cause(error)
                # A task group that was ending already keeps a cancellation to itself. Its own, of a
                # body that waits as an identity's does, it has taken back by now.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
                if self._clock() - began > STEADY_SECONDS:
                    wait = FIRST_WAIT_SECONDS
                identity.fell(str(reason) or repr(reason))
                log.error("identity_failed", reason=repr(reason), again_in_seconds=wait)
                await self._sleep(wait)
                wait = min(2 * wait, MAX_WAIT_SECONDS)

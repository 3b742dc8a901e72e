"""The journal as one identity uses it: its own tasks, facts and nonces, and nobody else's.

One file and one thread hold all; what is told apart here is whose a row is. The partition of
``MAIN`` is what a journal without identities was, so that such a journal is gone on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miner.job import MAIN, Asset
from miner.journal.journal import Journal
from miner.journal.record import Record

MARK = "/"
"""Between an identity's name and a key; neither names nor keys of ours hold one."""


class Partition:
    """One identity's part of a journal.

    Args:
        journal: of the daemon.
        identity: its name.
    """

    def __init__(self, journal: Journal, identity: str) -> None:
        self.identity = identity
        self._journal = journal
        self._prefix = "" if identity == MAIN else f"{identity}{MARK}"

    @property
    def failed(self) -> str | None:
        """Why nothing can be written at the moment; None while all is well."""
        return self._journal.failed

    # Jobs

    async def find_task(self, task_id: str) -> Record | None:
        """The record of a job by the validator's id."""
        return await self._journal.find_task(self.identity, task_id)

    async def find_result(self, requester: str, spec_key: str) -> Record | None:
        """The newest kept result of the same requester for an equal spec."""
        return await self._journal.find_result(self.identity, requester, spec_key)

    async def asset(self, job_id: str) -> Asset | None:
        """A job's result, while it is kept."""
        return await self._journal.asset(job_id)

    def deliver(self, job_id: str) -> None:
        """Notes, without waiting, that the requester has the outcome."""
        self._journal.deliver(job_id)

    # Nonces, facts, decisions

    def remember_nonce(self, key: str, nonce: int, expires_at: float) -> None:
        """As ``Journal.remember_nonce``."""
        self._journal.remember_nonce(f"{self._prefix}{key}", nonce, expires_at)

    async def nonces(self) -> list[tuple[str, int, float]]:
        """Keys of this identity, their nonces and when they expire."""
        return [
            (key.removeprefix(self._prefix), nonce, expires_at)
            for key, nonce, expires_at in await self._journal.nonces()
            if key.rpartition(MARK)[0] == self._prefix.removesuffix(MARK)
        ]

    def forget_nonces(self, before: float) -> None:
        """As ``Journal.forget_nonces``: what has expired is of no use to anybody."""
        self._journal.forget_nonces(before)

    async def state(self, key: str) -> str | None:
        """A small fact by name."""
        return await self._journal.state(f"{self._prefix}{key}")

    def set_state(self, key: str, value: str) -> None:
        """Keeps a small fact, without waiting, in the place of the earlier one."""
        self._journal.set_state(f"{self._prefix}{key}", value)

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Appends a decision to the log, without waiting; where there are several, with whose."""
        whose = {} if self.identity == MAIN else {"identity": self.identity}
        self._journal.event(kind, {**detail, **whose})

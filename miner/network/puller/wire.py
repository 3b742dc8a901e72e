"""The two calls to a validator, and what its answers mean.

Whatever a validator sends, and whatever the network does, becomes one of the values below; nothing
is decided here, waited for or tried again.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from miner.admission.peers import Peer
from miner.admission.signature import Signer
from miner.errors import MalformedRequest
from miner.network import base64_text
from miner.network.dendrite import UNREACHABLE
from miner.network.puller.clocks import Clocks
from miner.network.puller.tasks import Assignment, assignment_of
from miner.network.subnet import Feedback, PullTask, SubmitResults, submission_message
from miner.network.synapse import SynapseT
from miner.settings.pull import PullSettings

MAX_UNIX_SECONDS = 2**40
"""Larger numbers in an answer are taken for this; the cap on cooldowns does the rest."""
INLINE_CHARACTERS = 256 * 1024
"""A longer prompt is signed in a thread: hashing megabytes takes tens of milliseconds."""
WITHOUT_EFFECT = (401, 404)
"""Refused before any handler saw the request."""


class Caller(Protocol):
    """What is needed of the signed client; see ``Dendrite``."""

    async def call(
        self,
        address: str,
        axon_hotkey: str,
        synapse: SynapseT,
        timeout: float = 12.0,  # noqa: ASYNC109 - as the client says it
        on_date: Callable[[float], None] | None = None,
    ) -> SynapseT:
        """Sends a synapse; whatever goes wrong is a status on what is returned."""


@dataclass(frozen=True)
class Offer:
    """A validator answered a pull.

    Attributes:
        assignment: the task, if there is one.
        cooldown_until: unix seconds by the validator's clock; 0 for none.
        their_now: that clock when it answered, to a second below; None where it is not known.
        violations: its count of our early pulls.
        free_seconds: of generation that cost no cooldown.
    """

    assignment: Assignment | None
    cooldown_until: float
    their_now: float | None
    violations: int
    free_seconds: float


@dataclass(frozen=True)
class PullFailed:
    """There was no answer to a pull that could be used."""

    reason: str


@dataclass(frozen=True)
class Verdict:
    """A validator answered a submission. ``feedback`` says nothing where it did not judge it."""

    feedback: Feedback
    cooldown_until: float
    their_now: float | None


@dataclass(frozen=True)
class NotOurs:
    """The validator knows of no such task of ours."""

    reason: str


@dataclass(frozen=True)
class Undelivered:
    """The result must be sent again.

    Attributes:
        doubtful: the validator may have judged it, and only its answer was lost.
    """

    reason: str
    doubtful: bool


@dataclass
class _Date:
    """The other side's clock, once it has been heard."""

    seconds: float | None = field(default=None)

    def hear(self, seconds: float) -> None:
        self.seconds = seconds


class Wire:
    """Speaks to validators as one miner.

    Args:
        signer: our hotkey.
        caller: the client, which calls as the same hotkey.
        settings: limits of the calls.
        clocks: for what is stamped.

    Attributes:
        clocks: the same.
    """

    def __init__(
        self, signer: Signer, caller: Caller, settings: PullSettings, clocks: Clocks
    ) -> None:
        self._signer = signer
        self._caller = caller
        self._settings = settings
        self.clocks = clocks

    @property
    def miner(self) -> str:
        """Our hotkey."""
        return self._signer.ss58_address

    async def pull(self, peer: Peer) -> Offer | PullFailed:
        """Asks a validator that serves for a task."""
        date = _Date()
        reply = await self._caller.call(
            str(peer.axon), peer.hotkey, PullTask(), self._settings.pull_seconds, date.hear
        )
        if reply.dendrite.status_code != 200:
            return PullFailed(_why(reply))
        free = float(min(max(reply.throttle_period, 0), MAX_UNIX_SECONDS))
        assignment = None
        if reply.task is not None:
            try:
                assignment = assignment_of(
                    reply.task, peer.hotkey, reply.validation_threshold, free, self.clocks.wall()
                )
            except MalformedRequest as error:
                return PullFailed(str(error))
        return Offer(
            assignment,
            _unix(reply.cooldown_until),
            date.seconds,
            min(max(reply.cooldown_violations, 0), MAX_UNIX_SECONDS),
            free,
        )

    async def submit(
        self, peer: Peer, assignment: Assignment, data: bytes
    ) -> Verdict | NotOurs | Undelivered:
        """Brings a result, signed now.

        Args:
            peer: who gave the task, as it serves now.
            assignment: the task.
            data: the splat's file; empty gives the task back.
        """
        date = _Date()
        synapse = await self._submission(assignment, data)
        reply = await self._caller.call(
            str(peer.axon), peer.hotkey, synapse, self._settings.submit_seconds, date.hear
        )
        status = reply.dendrite.status_code
        if status == 200 and reply.feedback is not None:
            return Verdict(reply.feedback, _unix(reply.cooldown_until), date.seconds)
        if status == 200:
            return Undelivered("answered without feedback", doubtful=True)
        if status == 403:
            return NotOurs(_why(reply))
        message = reply.dendrite.status_message or ""
        never_left = status == 503 and message.startswith(UNREACHABLE)
        return Undelivered(_why(reply), doubtful=not never_left and status not in WITHOUT_EFFECT)

    async def _submission(self, assignment: Assignment, data: bytes) -> SubmitResults:
        now_ns = int(self.clocks.wall() * 1e9)
        results = await base64_text.encode(data)
        message = submission_message(now_ns, assignment.prompt, assignment.validator, self.miner)
        if len(message) <= INLINE_CHARACTERS:
            signature = self._signer.sign(message)
        else:
            signature = await asyncio.to_thread(self._signer.sign, message)
        return SubmitResults(
            task_id=assignment.id,
            results=results,
            submit_time=now_ns,
            signature=b64encode(signature).decode(),
        )


def _why(reply: PullTask | SubmitResults) -> str:
    return f"{reply.dendrite.status_code} {reply.dendrite.status_message or ''}".rstrip()


def _unix(seconds: int) -> float:
    return float(min(max(seconds, 0), MAX_UNIX_SECONDS))

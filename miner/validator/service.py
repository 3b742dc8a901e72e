"""A validator's answers to the three messages, from its ledger and its judge; no sockets.

The handlers go behind our own axon (``serve``), and behind any other that hands them messages whose
sender it has verified. Hotkeys that are not registered are answered too, as validators do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from miner.admission.peers import Peer, PeersSnapshot
from miner.errors import NotPermitted
from miner.network.axon import Handler
from miner.network.subnet import GetVersion, PullTask, SubmitResults, SubnetTask
from miner.network.synapse import Synapse
from miner.settings.pull import OWNER_HOTKEY
from miner.validator.judge import Scorer, full_marks, is_signed, judge
from miner.validator.ledger import Ledger, Submitted
from miner.validator.rules import Verdict

VERSION = 45
VALIDATION_VERSION = "2.4.0"
"""Of the validators whose rules these are."""

MIN_VALIDATOR_STAKE = 1000.0
"""To be told versions; the subnet's owner needs none."""

Keep = Callable[[SubnetTask, bytes], None]
"""Takes an accepted file; runs in a thread."""

log = logging.getLogger("miner.validator")


class ValidatorService:
    """One validator. To be entered; leaving it waits for what is being judged.

    Args:
        hotkey: its own.
        ledger: its books.
        peers: for stakes.
        scorer: gives the score of a splat that passed the gate.
        changed: called after every change of the ledger, before it is answered.
        keep: called with every accepted file.
    """

    def __init__(
        self,
        hotkey: str,
        ledger: Ledger,
        peers: Callable[[], PeersSnapshot],
        scorer: Scorer = full_marks,
        changed: Callable[[], None] = lambda: None,
        keep: Keep | None = None,
    ) -> None:
        self.hotkey = hotkey
        self.ledger = ledger
        self._peers = peers
        self._scorer = scorer
        self._changed = changed
        self._keep = keep
        self._judging: set[asyncio.Task[Submitted]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*self._judging, return_exceptions=True)

    def handlers(self) -> Mapping[type[Synapse], Handler]:
        """For an axon."""
        return {PullTask: self.pull, SubmitResults: self.submit, GetVersion: self.version}

    async def pull(self, synapse: PullTask, peer: Peer) -> PullTask:
        """Answers with the task that this miner is to do, or when to come again."""
        pulled = self.ledger.pull(peer.hotkey)
        self._changed()
        synapse.task = pulled.task
        synapse.validation_threshold = pulled.validation_threshold
        synapse.throttle_period = pulled.throttle_period
        synapse.cooldown_until = pulled.cooldown_until
        synapse.cooldown_violations = pulled.cooldown_violations
        return synapse

    async def submit(self, synapse: SubmitResults, peer: Peer) -> SubmitResults:
        """Answers with what became of the result; goes on judging where the miner leaves.

        Raises:
            NotPermitted: not registered, or no task is assigned.
            JobFailed: the signature is not one.
        """
        task_id = synapse.task_id or (synapse.task.id if synapse.task else "")
        received = self.ledger.receive(
            peer.hotkey,
            task_id,
            empty=not synapse.results,
            signed=lambda task: is_signed(synapse, task, self.hotkey, peer.hotkey),
        )
        if not isinstance(received, Submitted):
            submitted = await self._judge_whole(peer.hotkey, received, synapse.results)
        else:
            submitted = self._concluded(peer.hotkey, task_id, received, "")
        synapse.results = synapse.signature = ""
        synapse.feedback, synapse.cooldown_until = submitted.feedback, submitted.cooldown_until
        return synapse

    async def version(self, synapse: GetVersion, peer: Peer) -> GetVersion:
        """Tells other validators what this one imitates.

        Raises:
            NotPermitted: the caller is none.
        """
        known = self._peers().get(peer.hotkey)
        if known is None:
            raise NotPermitted(f"the hotkey {peer.hotkey} is not registered")
        if known.hotkey != OWNER_HOTKEY and known.stake < MIN_VALIDATOR_STAKE:
            raise NotPermitted("versions are told to validators only")
        synapse.version, synapse.validation_version = VERSION, VALIDATION_VERSION
        return synapse

    async def _judge_whole(self, hotkey: str, task: SubnetTask, results: str) -> Submitted:
        """Goes on without the miner: it may stop waiting, and a validator does not notice."""
        work = asyncio.create_task(self._judge(hotkey, task, results))
        self._judging.add(work)
        work.add_done_callback(self._judging.discard)
        return await asyncio.shield(work)

    async def _judge(self, hotkey: str, task: SubnetTask, results: str) -> Submitted:
        judgement = await judge(task, results, self._scorer)
        submitted = self.ledger.conclude(hotkey, task, judgement.score)
        if submitted.verdict is Verdict.ACCEPTED and self._keep and judgement.data is not None:
            await asyncio.to_thread(self._keep, task, judgement.data)
        return self._concluded(hotkey, task.id, submitted, judgement.reason)

    def _concluded(self, hotkey: str, task_id: str, submitted: Submitted, why: str) -> Submitted:
        self._changed()
        line = "validator: %s of %s: %s%s", task_id, hotkey, submitted.verdict, why and f": {why}"
        log.info(*line)
        return submitted

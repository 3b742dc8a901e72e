"""One validator's turn: pull a task, have it made, bring the result until it is taken, note it all.

What a validator does, or fails to do, changes its own entry of the book and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from miner.admission.peers import Peer, PeersSnapshot
from miner.job import Asset
from miner.network.puller.book import Book, Entry
from miner.network.puller.clocks import Clocks, Moment
from miner.network.puller.cooldowns import Cooldown
from miner.network.puller.tasks import Assignment
from miner.network.puller.wire import NotOurs, Offer, PullFailed, Undelivered, Verdict, Wire
from miner.network.puller.workshop import Finished, Workshop
from miner.network.subnet import Feedback
from miner.settings.pull import PullSettings

LOCK_SECONDS = 32.0
"""After a submission whose reply was lost: validators ignore another one for 30 s."""
MAX_MARGIN_SECONDS = 60.0
FIRST_MARGIN_SECONDS = 2.0
MAX_DOUBLINGS = 16

log = structlog.get_logger(__name__)


class Log(Protocol):
    """What is needed of the journal."""

    def deliver(self, job_id: str) -> None:
        """Notes that the requester has the outcome."""

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        """A decision, for the log."""


class PullMetrics(Protocol):
    """What is counted."""

    def pulled(self, outcome: str) -> None:
        """A validator was asked for a task."""

    def submitted(self, outcome: str) -> None:
        """A result was brought, or could not be."""

    def judged(self, score: float) -> None:
        """A result got this score."""


@dataclass
class Turn:
    """A visit while it lasts, as the puller sees it. Written by the visit alone.

    Attributes:
        began: steady seconds.
        state: "pulling", "entering" the queue, "making", "submitting", or "waiting" to do so again.
    """

    began: float
    state: str = "pulling"

    def entered(self) -> None:
        """The task is in the queue, or needs no place there."""
        self.state = "making"


class Visitor:
    """Makes visits; several at a time, of different validators.

    Args:
        wire: the calls.
        workshop: where tasks are made.
        book: what is known of validators.
        archive: the journal.
        peers: the snapshot in use.
        settings: waits and limits.
        metrics: told what happens.
    """

    def __init__(
        self,
        wire: Wire,
        workshop: Workshop,
        book: Book,
        archive: Log,
        peers: Callable[[], PeersSnapshot],
        metrics: PullMetrics,
        settings: PullSettings,
    ) -> None:
        self._wire = wire
        self._workshop = workshop
        self._book = book
        self._archive = archive
        self._peers = peers
        self._settings = settings
        self._metrics = metrics

    @property
    def _clocks(self) -> Clocks:
        return self._wire.clocks

    async def visit(self, hotkey: str, turn: Turn) -> None:
        """From a pull, or from the task in hand, to the validator's word on the result."""
        entry = self._book.entry(hotkey)
        assignment = self._book.assignment(hotkey)
        if assignment is None:
            peer = self._peers().get(hotkey)
            assignment = None if peer is None else await self._pull(peer, entry)
        if assignment is None:
            return
        turn.state = "entering"
        known = self._peers().get(hotkey)
        stake = 0.0 if known is None else known.stake
        finished = await self._workshop.make(assignment, stake, turn.entered)
        await self._deliver(assignment, entry, finished, turn)

    # Pulling

    async def _pull(self, peer: Peer, entry: Entry) -> Assignment | None:
        answer = await self._wire.pull(peer)
        now = self._clocks.now()
        if isinstance(answer, PullFailed):
            entry.failed(answer.reason)
            entry.cooldown = Cooldown.pause(self._backoff(entry.failures), now)
            self._metrics.pulled("failed")
            log.info("pull_failed", validator=peer.hotkey, reason=answer.reason)
            self._book.save()
            return None
        entry.heard_at = now.wall
        entry.pulls += 1
        entry.last_error = None
        if answer.assignment is None:
            self._nothing(peer.hotkey, entry, answer)
            return None
        entry.free_seconds, entry.violations = answer.free_seconds, answer.violations
        again = answer.assignment.id == entry.last_task_id
        entry.tasks += not again
        self._metrics.pulled("again" if again else "task")
        self._book.take(answer.assignment)
        task = {"validator": peer.hotkey, "task": answer.assignment.id, "again": again}
        self._archive.event("pull", {**task, "kind": answer.assignment.kind})
        log.info("pulled", **task)
        return answer.assignment

    def _nothing(self, hotkey: str, entry: Entry, answer: Offer) -> None:
        """There is no task for us now."""
        now = self._clocks.now()
        cooldown = self._told(entry, answer.cooldown_until, answer.their_now, now)
        waits = not cooldown.over(now)
        if entry.pulls > 1 and answer.violations > entry.violations:  # their clock is behind
            entry.margin_seconds = min(
                max(FIRST_MARGIN_SECONDS, 2 * entry.margin_seconds), MAX_MARGIN_SECONDS
            )
            margin = entry.margin_seconds
            log.warning("pulled_too_early", validator=hotkey, margin_seconds=margin)
            cooldown = self._told(entry, answer.cooldown_until, answer.their_now, now)
        entry.violations = answer.violations
        entry.failures = 0
        entry.cooldown = cooldown if waits else Cooldown.pause(self._settings.idle_seconds, now)
        self._metrics.pulled("cooldown" if waits else "nothing")
        self._book.save()

    # Bringing

    async def _deliver(
        self, assignment: Assignment, entry: Entry, finished: Finished, turn: Turn
    ) -> None:
        """Brings the outcome of a task until the validator has it or does not want it."""
        began, tries = self._clocks.steady(), 0
        if entry.doubtful:  # another life sent it, perhaps a moment ago
            turn.state = "waiting"
            await self._clocks.sleep(LOCK_SECONDS)
        while True:
            turn.state = "submitting"
            answer, brought = await self._bring(assignment, entry, finished)
            if isinstance(answer, Verdict):
                return self._judged(assignment, entry, finished, answer, brought)
            if isinstance(answer, NotOurs):
                return self._disowned(assignment, entry, finished, answer)
            tries += 1
            entry.failed(answer.reason)
            self._book.save()
            self._metrics.submitted("failed")
            log.warning(
                "submission_failed",
                validator=assignment.validator,
                task=assignment.id,
                tries=tries,
                reason=answer.reason,
            )
            if self._clocks.steady() - began >= self._settings.task_seconds:
                return self._disowned(assignment, entry, finished, answer)
            wait = self._backoff(tries)
            turn.state = "waiting"
            await self._clocks.sleep(max(wait, LOCK_SECONDS) if answer.doubtful else wait)

    async def _bring(
        self, assignment: Assignment, entry: Entry, finished: Finished
    ) -> tuple[Verdict | NotOurs | Undelivered, Asset | None]:
        """One try. What is sent may be judged though we never hear of it: noted beforehand."""
        peer = self._peers().get(assignment.validator)
        if peer is None or peer.axon is None:
            return Undelivered("it does not serve at the moment", doubtful=False), None
        before, entry.doubtful = entry.doubtful, True
        self._book.save()
        await self._workshop.settled()
        asset = await self._workshop.result(finished)
        if asset is not None and not good_enough(asset, assignment.threshold):
            asset = None
        answer = await self._wire.submit(peer, assignment, asset.data if asset else b"")
        if isinstance(answer, Undelivered) and not answer.doubtful:
            entry.doubtful = before
        elif not isinstance(answer, Undelivered):
            entry.doubtful = before  # of this try nothing is in doubt
            entry.heard_at = self._clocks.wall()
        return answer, asset

    # The end of a task

    def _judged(
        self,
        assignment: Assignment,
        entry: Entry,
        finished: Finished,
        verdict: Verdict,
        brought: Asset | None,
    ) -> None:
        now = self._clocks.now()
        cooldown = self._told(entry, verdict.cooldown_until, verdict.their_now, now)
        waits = not cooldown.over(now)
        outcome = _outcome(verdict.feedback, assignment.threshold, brought is not None, waits)
        if waits or outcome == "accepted":
            entry.failures = 0
            pause = Cooldown.pause(self._settings.retry_seconds, now)
            entry.cooldown = cooldown if waits else pause
        else:  # not looked at: it has another task for us, or is judging an earlier try still
            self._wait_unknowing(entry)
        entry.last_error = finished.failure
        entry.feedback = verdict.feedback
        setattr(entry, outcome, getattr(entry, outcome) + 1)
        if outcome in ("accepted", "rejected"):
            self._metrics.judged(verdict.feedback.task_fidelity_score)
        self._end(assignment, finished, outcome, verdict.feedback.model_dump())

    def _disowned(
        self, assignment: Assignment, entry: Entry, finished: Finished, why: NotOurs | Undelivered
    ) -> None:
        """The validator does not know the task, or could not be reached for too long."""
        self._wait_unknowing(entry)
        entry.last_error = why.reason
        entry.unknown += 1
        self._end(assignment, finished, "unknown", {"reason": why.reason})

    def _wait_unknowing(self, entry: Entry) -> None:
        """No cooldown was named. A lost reply may have named one: its longest is kept."""
        now = self._clocks.now()
        entry.failures += 1
        pause = Cooldown.pause(self._backoff(entry.failures), now)
        lost = Cooldown.kept(self._settings.lost_reply_seconds, now)
        entry.cooldown = lost if entry.doubtful else pause

    def _end(
        self, assignment: Assignment, finished: Finished, outcome: str, detail: Mapping[str, Any]
    ) -> None:
        hotkey = assignment.validator
        seconds = round(self._book.entry(hotkey).cooldown.left(self._clocks.now()), 1)
        self._book.close(hotkey)
        if finished.job_id is not None:
            self._archive.deliver(finished.job_id)
        self._metrics.submitted(outcome)
        line = {"validator": hotkey, "task": assignment.id, "outcome": outcome}
        if finished.failure is not None:
            line["failure"] = finished.failure
        self._archive.event("feedback", {**line, **detail, "cooldown_seconds": seconds})
        log.info("submission", **line, cooldown_seconds=seconds)

    # Waits

    def _told(self, entry: Entry, until: float, their_now: float | None, now: Moment) -> Cooldown:
        return Cooldown.told(
            until,
            now,  # one moment for all: what is over at it must not seem to begin at the next
            their_now,
            margin=self._settings.margin_seconds + entry.margin_seconds,
            cap=self._settings.max_cooldown_seconds,
        )

    def _backoff(self, failures: int) -> float:
        doubled = self._settings.retry_seconds * 2.0 ** min(max(0, failures - 1), MAX_DOUBLINGS)
        return min(doubled, self._settings.max_retry_seconds)


def good_enough(asset: Asset, threshold: float) -> bool:
    """Whether a result is worth its validation, by our own check of it, where there was one."""
    return asset.score is None or asset.score >= threshold


def _outcome(feedback: Feedback, threshold: float, brought: bool, waits: bool) -> str:
    if not brought:
        return "skipped" if waits else "unknown"
    if feedback.validation_failed or (not waits and not feedback.task_fidelity_score):
        return "unknown"
    return "accepted" if feedback.task_fidelity_score >= threshold else "rejected"

"""A validator's ledger: who has which task, who waits until when, and what each submission earns.

The rules of the subnet's validators, case by case and in their order, oddities included; see
``Rules`` for the numbers. Pure: no network, no keys, no splats. Whether a signature holds and what
score a splat gets, the caller finds out; since judging takes time, a submission comes in two steps,
``receive`` and ``conclude``, and others may come between.

Not there: duels, several miners on one task, weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from miner.errors import NotPermitted
from miner.network.subnet import Feedback, SubnetTask
from miner.validator.accounts import LedgerState, MinerAccount, TaskRecord
from miner.validator.rules import PENALIZED, Rules, Verdict

MAX_RECORDS = 100_000
"""Of tasks that are kept; the oldest go first."""


@dataclass(frozen=True)
class Pulled:
    """The answer to a pull; the fields are those of ``PullTask``."""

    task: SubnetTask | None = None
    validation_threshold: float = 0.6
    throttle_period: int = 0
    cooldown_until: int = 0
    cooldown_violations: int = 0


@dataclass(frozen=True)
class Submitted:
    """The answer to a submission.

    Attributes:
        verdict: what was decided; not told to the miner in so many words.
        feedback, cooldown_until: as in ``SubmitResults``.
    """

    verdict: Verdict
    feedback: Feedback
    cooldown_until: int


class Ledger:
    """One validator's books; written by its own methods alone.

    Args:
        tasks: the source: gives the n-th task, counted from 0, or None after the last. Asked again
            for the same n after a restart.
        uid_of: of a hotkey, None where it is not registered.
        rules: in force.
        clock: unix seconds.
        state: of an earlier life, which the ledger goes on with.
    """

    def __init__(
        self,
        tasks: Callable[[int], SubnetTask | None],
        uid_of: Callable[[str], int | None],
        rules: Rules | None = None,
        clock: Callable[[], float] = time.time,
        state: LedgerState | None = None,
    ) -> None:
        self.rules = rules or Rules()
        self.state = state or LedgerState()
        self._tasks = tasks
        self._uid_of = uid_of
        self._clock = clock

    def pull(self, hotkey: str) -> Pulled:
        """A miner asks for a task."""
        now = self._clock()
        account = self._account(hotkey)
        if account is None:
            return Pulled(cooldown_until=int(now) + self.rules.unregistered_seconds)
        if account.on_cooldown(now):
            return self._too_early(account)
        if account.task is None:
            self._assign(account, hotkey, now)
        if account.task is None:
            return Pulled()
        if record := self.state.records.get(account.task.id):
            record.pulls += 1
        return Pulled(account.task, self.rules.threshold, self.rules.throttle_seconds)

    def refusal(self, hotkey: str) -> str | None:
        """Why a submission of this hotkey is not even looked at; None where it is."""
        account = self._account(hotkey)
        if account is None:
            return f"the hotkey {hotkey} is not registered"
        if account.task is None:
            return "no task is assigned: the validator was restarted, or the miner is at fault"
        return None

    def receive(
        self, hotkey: str, task_id: str, *, empty: bool, signed: Callable[[SubnetTask], bool]
    ) -> Submitted | SubnetTask:
        """A submission comes in.

        Args:
            hotkey: of the miner.
            task_id: that it names.
            empty: whether it brings no result.
            signed: whether the miner's signature holds for the assigned task. What it raises
                passes through, and nothing has happened then.

        Returns:
            The answer; or the task, where the result is now to be judged, and ``conclude`` to be
            called with the score.

        Raises:
            NotPermitted: see ``refusal``.
        """
        if reason := self.refusal(hotkey):
            raise NotPermitted(reason)
        account, now = self.state.miners[hotkey], self._clock()
        task = account.task
        assert task is not None, "else it was refused"
        if task_id != task.id:
            return self._answer(account, Verdict.WRONG_TASK, now)
        holds = signed(task)
        self._count_submission(task)
        if not holds:
            return self._end(account, task, Verdict.BAD_SIGNATURE, now)
        account.violations = max(0, account.violations - 1)
        if empty:
            return self._end(account, task, Verdict.EMPTY, now)
        if account.locked_until > now:
            return self._answer(account, Verdict.LOCKED, now)
        account.locked_until = int(now) + self.rules.lock_seconds
        return task

    def conclude(self, hotkey: str, task: SubnetTask, score: float | None) -> Submitted:
        """A result that ``receive`` let through has been judged.

        Args:
            hotkey: of the miner.
            task: as ``receive`` returned it.
            score: 0 and up; None where judging failed, through no fault of the miner's.
        """
        account, now = self.state.miners[hotkey], self._clock()
        if score is None:
            return self._end(account, task, Verdict.UNJUDGED, now)
        if self.rules.is_repeat(now, account.last_success_at):
            return self._answer(account, Verdict.TOO_SOON, now)
        if score < self.rules.threshold:
            return self._end(account, task, Verdict.REJECTED, now, score)
        fidelity = min(1.0, score)
        account.observe(now, fidelity, self.rules)
        return self._end(account, task, Verdict.ACCEPTED, now, fidelity)

    def _account(self, hotkey: str) -> MinerAccount | None:
        """The books of a registered miner; new ones where its uid is another than before."""
        uid = self._uid_of(hotkey)
        if uid is None:
            return None
        account = self.state.miners.get(hotkey)
        if account is None or account.uid != uid:
            account = self.state.miners[hotkey] = MinerAccount(uid=uid)
        return account

    def _too_early(self, account: MinerAccount) -> Pulled:
        account.early_pulls += 1
        account.violations += 1
        if account.violations > self.rules.free_violations:
            account.cooldown_until += self.rules.violation_seconds
        return Pulled(cooldown_until=account.cooldown_until, cooldown_violations=account.violations)

    def _assign(self, account: MinerAccount, hotkey: str, now: float) -> None:
        task = self._tasks(self.state.issued)
        if task is None:
            return
        self.state.issued += 1
        account.task, account.assigned_at = task, now
        records = self.state.records
        records[task.id] = TaskRecord.of(task, hotkey, now)
        while len(records) > MAX_RECORDS:
            del records[next(iter(records))]

    def _count_submission(self, task: SubnetTask) -> None:
        if record := self.state.records.get(task.id):
            record.submissions += 1

    def _end(
        self,
        account: MinerAccount,
        task: SubnetTask,
        verdict: Verdict,
        now: float,
        score: float | None = None,
    ) -> Submitted:
        """The task is over, whoever else is still being judged for it."""
        account.cooldown_until = self.rules.cooldown_until(
            now, account.assigned_at, penalty=verdict in PENALIZED
        )
        account.task = account.assigned_at = None
        if record := self.state.records.get(task.id):
            record.end(verdict, score, now)
        return self._answer(account, verdict, now, score if verdict is Verdict.ACCEPTED else None)

    def _answer(
        self, account: MinerAccount, verdict: Verdict, now: float, score: float | None = None
    ) -> Submitted:
        account.verdicts[verdict] += 1
        failed = verdict is Verdict.UNJUDGED
        feedback = account.feedback(now, self.rules, failed=failed, score=score or 0.0)
        return Submitted(verdict, feedback, account.cooldown_until)

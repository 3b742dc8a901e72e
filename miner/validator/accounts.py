"""What a validator's ledger holds of miners and of tasks; plain data that survives as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import BaseModel, Field

from miner.network.subnet import Feedback, SubnetTask
from miner.validator.rules import Rules, Verdict

TITLE_CHARACTERS = 80


class MinerAccount(BaseModel):
    """One miner's standing. Times are unix seconds.

    Attributes:
        uid: another one makes it another miner.
        task: assigned, or None.
        assigned_at: when ``task`` was assigned first.
        cooldown_until: 0 where there was none yet.
        violations: pulls during cooldowns, less one for each honestly signed submission.
        early_pulls: the same without forgiveness.
        locked_until: until then submissions are not taken for judging.
        last_success_at: of the last accepted result; 0 before the first.
        average: smoothed score.
        observations: when results of the last hours were accepted, oldest first.
        verdicts: how often each was given.
    """

    uid: int
    task: SubnetTask | None = None
    assigned_at: float | None = None
    cooldown_until: int = 0
    violations: int = 0
    early_pulls: int = 0
    locked_until: int = 0
    last_success_at: int = 0
    average: float = 1.0
    observations: list[int] = []
    verdicts: Counter[Verdict] = Field(default_factory=Counter)

    def on_cooldown(self, now: float) -> bool:
        """Whether a pull now comes too early."""
        return now < self.cooldown_until

    def observe(self, now: float, score: float, rules: Rules) -> None:
        """Counts an accepted result."""
        self.observations.append(int(now))
        self.average += rules.average_weight * (score - self.average)
        self.last_success_at = int(now)

    def feedback(self, now: float, rules: Rules, *, failed: bool, score: float) -> Feedback:
        """What the miner is told; forgets results that no longer count."""
        oldest = int(now) - rules.window_seconds
        while self.observations and self.observations[0] < oldest:
            del self.observations[0]
        return Feedback(
            validation_failed=failed,
            task_fidelity_score=score,
            average_fidelity_score=self.average,
            generations_within_the_window=len(self.observations),
            current_duel_rating=rules.rating,
            current_miner_reward=len(self.observations) * rules.rating,
        )


class TaskRecord(BaseModel):
    """The story of one task. Times are unix seconds.

    Attributes:
        title: the prompt, shortened; a picture's says only that.
        hotkey: of the miner it was assigned to.
        pulls: how often it was handed out, the first time included.
        submissions: that named it, whatever became of them.
        endings: final verdicts; more than one where a miner made two of one result.
        verdict: the first final one, None while the task is assigned.
        score: where it was judged.
    """

    id: str
    kind: Literal["text", "image"]
    title: str
    hotkey: str
    assigned_at: float
    pulls: int = 0
    submissions: int = 0
    endings: int = 0
    verdict: Verdict | None = None
    score: float | None = None
    ended_at: float | None = None

    @classmethod
    def of(cls, task: SubnetTask, hotkey: str, now: float) -> TaskRecord:
        """A task that is being assigned."""
        title = task.prompt[:TITLE_CHARACTERS] if task.type == "text" else "(picture)"
        return cls(id=task.id, kind=task.type, title=title, hotkey=hotkey, assigned_at=now)

    def end(self, verdict: Verdict, score: float | None, now: float) -> None:
        """Writes down a final verdict; the first one stays."""
        self.endings += 1
        if self.verdict is None:
            self.verdict, self.score, self.ended_at = verdict, score, now


class LedgerState(BaseModel):
    """All of a ledger.

    Attributes:
        issued: tasks taken from the source so far.
        miners: by hotkey.
        records: by task id, oldest first.
    """

    issued: int = 0
    miners: dict[str, MinerAccount] = {}
    records: dict[str, TaskRecord] = {}

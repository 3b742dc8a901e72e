"""Settings of the intake that asks validators for tasks and brings them the results.

Durations are seconds.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from miner.settings.section import Section

OWNER_HOTKEY = "5E7eSeRr2aHzCV7SkY4a2Pi5NXHrU4anZz3phEQgn4HCen2B"
"""The validator of the owner of subnet 17."""

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class PullSettings(Section):
    """Which validators are asked, how often, and how much may be in hand.

    Attributes:
        min_stake: of a validator, in the subnet's units (alpha); those with less are not asked.
        validators: ask these alone, whatever their stake; empty asks all with enough.
        deny: never ask these.
        owner_hotkey: the validator of the subnet's owner, who has a share of the turns.
        owner_share: every so-many-th turn is the owner's, where it may be asked; 0 gives it none.
        ahead: tasks that may wait here while all workers are busy.
        in_flight: tasks in hand at most, the results that could not be delivered yet included.
        pull_seconds, submit_seconds: a call that takes longer is given up.
        idle_seconds: until a validator is asked again that had no task and named no time.
        retry_seconds, max_retry_seconds: the wait after a failed call doubles with each in a row,
            from one to the other.
        margin_seconds: kept to a cooldown beyond what the validator said, for clocks that differ.
        max_cooldown_seconds: a longer cooldown is taken for nonsense, and for this.
        lost_reply_seconds: until a validator is asked again that may have judged a result and whose
            reply was lost: its longest usual cooldown.
        task_seconds: a result that could not be delivered for so long is given up.
    """

    min_stake: float = Field(default=1000.0, ge=0)
    validators: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    owner_hotkey: str = OWNER_HOTKEY
    owner_share: int = Field(default=5, ge=0, le=1000)
    ahead: int = Field(default=1, ge=0, le=64)
    in_flight: int = Field(default=32, ge=1, le=1024)
    pull_seconds: Annotated[float, Field(gt=0, le=600)] = 12.0
    submit_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    idle_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    retry_seconds: Annotated[float, Field(ge=1, le=3600)] = 5.0
    max_retry_seconds: Annotated[float, Field(ge=1, le=3600)] = 300.0
    margin_seconds: float = Field(default=1.0, ge=0, le=60)
    max_cooldown_seconds: Seconds = 21_600.0
    lost_reply_seconds: Seconds = 900.0
    task_seconds: Seconds = 86_400.0

    @model_validator(mode="after")
    def _check(self) -> PullSettings:
        if self.max_retry_seconds < self.retry_seconds:
            raise ValueError("max_retry_seconds: must be at least retry_seconds")
        return self

"""Settings of the rollback: which generator makes the splats, and when another takes its place."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from miner.settings.section import Section

Pin = Literal["auto", "primary", "rollback"]
Step = Literal["fewer_steps", "more_steps", "smaller_chunk", "smaller_resolution"]
Residency = Literal["resident", "host", "disk"]


class RollbackSettings(Section):
    """When the service leaves its first generator, and when it comes back.

    Attributes:
        primary: the generator in use while all is well.
        generator: the one to roll back to; empty has none. It takes part only where the preset
            says how to run it.
        pin: "auto" decides by what happens; the others hold one of the two whatever happens.
        window_seconds: how far back failures and times are looked at.
        failures: so many failures of the primary in the window are needed to change anything.
        failure_share: and such a share of the jobs it was given.
        latency_seconds: the objective for one job from its start to its result; 0 has none.
        latency_quantile: the share of jobs that has to keep it.
        latency_jobs: so many jobs must have been measured in the window before it counts.
        cool_down_seconds: after a change, before the way back is tried; doubles with each try in a
            row that fails ...
        max_cool_down_seconds: ... up to this.
        steps: smaller changes, tried in this order before another generator where they fit.
        least_seconds: what the rollback generator needs at least: a job with less time left that
            fails has failed.
        residency: where the rollback generator waits: on the device, in the host's memory, or on
            disk only.
        keep_seconds: one that was brought to the device goes back after so long without use.
    """

    primary: str = Field(default="triposr", min_length=1, max_length=40)
    generator: str = Field(default="dreamgaussian", max_length=40)
    pin: Pin = "auto"
    window_seconds: float = Field(default=300.0, gt=0, le=86_400)
    failures: int = Field(default=3, ge=1, le=1000)
    failure_share: float = Field(default=0.5, gt=0, le=1)
    latency_seconds: float = Field(default=0.0, ge=0, le=3600)
    latency_quantile: float = Field(default=0.9, gt=0, le=1)
    latency_jobs: int = Field(default=10, ge=1, le=1000)
    cool_down_seconds: float = Field(default=120.0, gt=0, le=86_400)
    max_cool_down_seconds: float = Field(default=1800.0, gt=0, le=86_400)
    steps: tuple[Step, ...] = ("fewer_steps", "smaller_chunk", "smaller_resolution")
    least_seconds: float = Field(default=4.0, ge=0, le=3600)
    residency: Residency = "resident"
    keep_seconds: float = Field(default=600.0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _check(self) -> RollbackSettings:
        if self.max_cool_down_seconds < self.cool_down_seconds:
            raise ValueError("max_cool_down_seconds: must not be less than cool_down_seconds")
        if self.generator == self.primary:
            raise ValueError("generator: is the primary itself; empty means none")
        if len(set(self.steps)) != len(self.steps):
            raise ValueError("steps: names a step twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Of the generators, the primary first."""
        return (self.primary, self.generator) if self.generator else (self.primary,)

    def alone(self, name: str) -> RollbackSettings:
        """For what has one generator only: that is its primary, and there is no other."""
        return self.model_copy(update={"primary": name, "generator": ""})

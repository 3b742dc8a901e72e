"""When a validator may be asked again: its word, kept by two clocks and over restarts.

A moment counts as reached when the wall clock says so and the seconds that were left have passed on
the steady clock as well. So a wall clock that jumps, either way, never makes us early; set back, it
makes us late.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from miner.network.puller.clocks import Moment


class Cooldown(BaseModel):
    """One wait; a value.

    Attributes:
        until: unix seconds; 0 where only the steady clock counts.
        steady_until: steady seconds.
        set_at: unix seconds when it was set.
        boot: the life of the machine in which ``steady_until`` means something.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    until: float = 0.0
    steady_until: float = 0.0
    set_at: float = 0.0
    boot: str = ""

    @classmethod
    def told(
        cls, until: float, now: Moment, their_now: float | None, margin: float, cap: float
    ) -> Self:
        """A validator's ``cooldown_until``.

        Args:
            until: unix seconds by the validator's clock; 0 and the past are no wait at all.
            now: when it was heard.
            their_now: the validator's own clock at that moment, where it is known: then our wall
                clock may be wrong, and the steady one still waits as long as it must.
            margin: seconds kept beyond it.
            cap: no wait is longer, margin aside.
        """
        left = until - (now.wall if their_now is None else their_now)
        if left <= 0 and until <= now.wall:
            return cls.none(now)
        return cls(
            until=min(until, now.wall + cap) + margin,
            steady_until=now.steady + min(max(left, 0.0), cap) + margin,
            set_at=now.wall,
            boot=now.boot,
        )

    @classmethod
    def kept(cls, seconds: float, now: Moment) -> Self:
        """A wait of our own choosing that a restart, or a clock that is set, must not shorten."""
        return cls(
            until=now.wall + seconds,
            steady_until=now.steady + seconds,
            set_at=now.wall,
            boot=now.boot,
        )

    @classmethod
    def pause(cls, seconds: float, now: Moment) -> Self:
        """A wait out of courtesy, forgotten when the machine starts anew."""
        return cls(steady_until=now.steady + seconds, set_at=now.wall, boot=now.boot)

    @classmethod
    def none(cls, now: Moment) -> Self:
        """No wait; over since now."""
        return cls.pause(0.0, now)

    def carried(self, now: Moment) -> Self:
        """The same after a restart.

        In the same life of the machine nothing changes. In another the wall clock says how much is
        left, and the steady one counts that again; if the wall clock reads less than when the wait
        was set, nobody knows how long that was ago, and the whole wait begins again.
        """
        if self.boot and self.boot == now.boot:
            return self
        again = max(0.0, self.until - max(now.wall, self.set_at))
        update = {"steady_until": now.steady + again, "boot": now.boot}
        return self.model_copy(update=update)

    def longer(self, other: Self) -> Self:
        """A wait that is over when both are."""
        return self.model_copy(
            update={
                "until": max(self.until, other.until),
                "steady_until": max(self.steady_until, other.steady_until),
            }
        )

    def left(self, now: Moment) -> float:
        """Seconds until both clocks are there, if none is set meanwhile; 0 when it is over."""
        wall = self.until - now.wall if self.until else 0.0
        return max(0.0, wall, self.steady_until - now.steady)

    def over(self, now: Moment) -> bool:
        """Whether the validator may be asked."""
        return self.left(now) == 0.0

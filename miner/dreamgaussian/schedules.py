"""What changes in the course of a fit: rates, picture sizes, noise, and how far a step carries.

All are plain functions of the *position*, a number of iterations of the configured fit. When there
is no time for all of them, the position moves on by more than one, and every schedule with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from miner.dreamgaussian.settings import RateSettings, ViewSettings

_MEMORY = 0.3
"""Weight of the newest iteration in the smoothed time of one."""


def position_rate(rates: RateSettings, position: float, random_start: bool) -> float:
    """Learning rate of the centres: log-linear from the first to the last (3DGS, section 7.1)."""
    share = min(1.0, position / rates.position_lr_max_steps)
    first, last = math.log(rates.position_lr_init), math.log(rates.position_lr_final)
    factor = rates.random_start_factor if random_start else 1.0
    return factor * math.exp(first + (last - first) * share)


def learning_rates(rates: RateSettings, position: float, random_start: bool) -> Sequence[float]:
    """One rate for each field of ``params.Cloud``, in their order."""
    return (
        position_rate(rates, position, random_start),
        rates.scaling_lr,
        rates.rotation_lr,
        rates.opacity_lr,
        rates.feature_lr,
    )


def view_size(views: ViewSettings, progress: float) -> int:
    """Side in pixels of the guidance's views at this share of the fit."""
    chosen = views.sizes_px[0]
    for size, share in zip(views.sizes_px, views.size_from, strict=True):
        chosen = size if progress >= share else chosen
    return chosen


def noise_step(noise_range: tuple[float, float], progress: float, steps: int) -> int:
    """The model's time step at this share of the fit: falls linearly, cut to the range.

    Args:
        noise_range: most and least noisy time as shares of ``steps``.
        progress: in [0,1].
        steps: of the model, usually 1000.
    """
    most, least = (round(share * steps) for share in noise_range)
    return min(max(round((1.0 - progress) * steps), least), most, steps - 1)


def crossed(before: float, after: float, interval: int) -> bool:
    """Whether a multiple of the interval lies in (before, after]."""
    return math.floor(after / interval) > math.floor(before / interval)


@dataclass
class Pace:
    """How far each iteration carries, so that the whole schedule fits into the time there is.

    The time of an iteration is measured, smoothed, and put in relation to its work (pixels), as
    views grow in the course of the fit. Without a deadline every iteration carries by one.

    Attributes:
        iters: iterations of the configured fit.
        min_iters: that many are done in any case.
        deadline: on the clock; infinity for none.
        clock: seconds.
        work: relative cost of an iteration at a position.
        position: how far the fit has come, in [0, iters].
        done: iterations done.
    """

    iters: int
    min_iters: int
    deadline: float
    clock: Callable[[], float]
    work: Callable[[float], float]
    position: float = 0.0
    done: int = 0
    _seconds_per_work: float = field(default=0.0, init=False)
    _began: float = field(default=0.0, init=False)

    def begin(self) -> None:
        """An iteration begins."""
        self._began = self.clock()

    def end(self) -> float:
        """It is done; the position after it."""
        now = self.clock()
        cost = (now - self._began) / self.work(self.position)
        # The first iteration also pays for what is made only once.
        fresh = self.done < 2
        smoothed = self._seconds_per_work + _MEMORY * (cost - self._seconds_per_work)
        self._seconds_per_work = cost if fresh else smoothed
        self.done += 1
        # This iteration and those still to come share what is left of the schedule.
        left = self.iters - self.position
        self.position = min(float(self.iters), self.position + left / (1.0 + self._to_come(now)))
        return self.position

    @property
    def finished(self) -> bool:
        """Whether the schedule has been gone through."""
        return self.position >= self.iters - 1e-9

    @property
    def remaining(self) -> int:
        """Iterations still to do, as far as is known; for reports of progress."""
        left = self.iters - self.position
        if left <= 1e-9:
            return 0
        seconds_left = self.deadline - self.clock()
        return math.ceil(min(left, max(1.0, self._affordable(seconds_left, left))) - 1e-9)

    def _to_come(self, now: float) -> float:
        """Iterations after the present one: one for each step left, or what there is time for."""
        left = self.iters - self.position - 1.0
        return max(0.0, min(left, self._affordable(self.deadline - now, left)))

    def _affordable(self, seconds_left: float, left: float) -> float:
        if not math.isfinite(seconds_left):
            return math.inf
        mean_work = (self.work(self.position) + self.work(self.position + 0.75 * left)) / 2
        seconds = max(self._seconds_per_work * mean_work, 1e-9)
        return max(seconds_left / seconds, float(self.min_iters - self.done))

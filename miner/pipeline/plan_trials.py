"""Loading by a memory plan, and by a smaller one where memory runs out under it.

A plan is made of estimates. Where they are too low, or another process takes memory meanwhile, the
models do not fit although the plan says so. What was tried is then let go of, and the next plan is
one that takes less than what was just seen to fail.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from miner.errors import DeviceError, StartupError
from miner.gpu.capability import Installed, installed_here
from miner.gpu.device import Device, choose_device
from miner.gpu.handles import make_handles
from miner.gpu.kernels import arches_here
from miner.gpu.plan import Card, MemoryPlan
from miner.gpu.planner import make_plan
from miner.gpu.reasons import gib
from miner.pipeline.shortage import is_shortage, let_go
from miner.settings import Preset, RollbackSettings

Made = TypeVar("Made")

MOST_PLANS: Final = 6
"""Plans tried at most, the smallest there is as the last: each may take a minute to load, and
all of them have to end within ``worker.start_seconds``."""

log = logging.getLogger(__name__)


class PlanTrials:
    """Plans for one preset on one device, each tried until memory runs out under it.

    Args:
        preset: with the operator's wishes in its section ``memory``.
        device: where the models work; its libraries have their handles by now.
        rollback: which generators, and where the second waits at the nearest.
        installed: whether a library is there.

    Attributes:
        plan: the one to load by now; its warnings name those that ran out of memory.

    Raises:
        ConfigError: the catalogue of models cannot be read.
    """

    def __init__(
        self,
        preset: Preset,
        device: Device,
        rollback: RollbackSettings,
        installed: Installed = installed_here,
    ) -> None:
        self._preset = preset
        self._device = device
        self._rollback = rollback
        self._installed = installed
        self._failed: list[MemoryPlan] = []
        self.plan = self._planned(device.card())

    @classmethod
    def here(cls, preset: Preset, device: str, rollback: RollbackSettings) -> PlanTrials:
        """For this machine as it is now.

        Args:
            preset: as for the class.
            device: ``auto``, ``cpu`` or ``cuda``.
            rollback: as for the class.

        Raises:
            DeviceError: the device is not there, or has no memory for its libraries' handles.
            ConfigError: the catalogue of models cannot be read.
        """
        place = choose_device(device)
        try:
            make_handles(place)
        except Exception as error:
            if not is_shortage(error):
                raise
            raise DeviceError(
                f"{place.name}: no memory is free before any model is loaded ({_said(error)}); "
                "end what else runs on it"
            ) from error
        return cls(preset, place, rollback)

    @property
    def is_last(self) -> bool:
        """Whether no smaller plan is left to try."""
        return (
            len(self._failed) + 1 >= MOST_PLANS
            or self._smallest(self.plan.card).peak_bytes >= self.plan.peak_bytes
        )

    def run(self, work: Callable[[MemoryPlan], Made]) -> Made:
        """What ``work`` makes by the first plan under which memory does not run out.

        Between two tries nothing of the first is held: ``work`` has to keep none of it elsewhere.

        Args:
            work: loads by a plan, or does a first job with what is loaded by it.

        Raises:
            DeviceError: memory ran out under every plan down to the smallest, or the next one
                cannot be loaded for another reason.
            MinerError: as ``work`` raises, under the first plan.
        """
        while True:
            try:
                return work(self.plan)
            except StartupError as error:
                if not self._failed:
                    raise
                raise DeviceError(f"{self._tried()}; the next plan: {error}") from error
            except Exception as error:
                if not is_shortage(error):
                    raise
                said = _said(error)
                let_go(error)
            # Outside the clause: the error and its frames are gone now. Models hold themselves in
            # cycles, and a worker that starts has its collector off.
            gc.collect()
            self._device.release()
            self._device.release_host()  # the next plan may have the host's memory for other parts
            self._device.forget_peaks()
            self._step_down(said)

    def _step_down(self, said: str) -> None:
        """The next plan in place of the one that failed.

        Raises:
            DeviceError: there is none.
        """
        failed, last = self.plan, self.is_last
        self._failed.append(failed)
        log.warning("out of memory in a plan of %s: %s", gib(failed.peak_bytes), said)
        if last:
            raise DeviceError(f"{self._tried()}, and no smaller one is left ({said}); {_FIX}")
        card = self._device.card()
        if len(self._failed) + 1 >= MOST_PLANS:
            found = self._smallest(card)
        else:
            found = self._planned(card, failed.peak_bytes - 1)
        if found.peak_bytes >= failed.peak_bytes:  # less is free now than when the first was made
            raise DeviceError(f"{self._tried()}, and no smaller one fits now ({said}); {_FIX}")
        more = f"ran out of memory in {self._sizes()}; this one takes {gib(found.peak_bytes)}"
        self.plan = replace(found, warnings=(*found.warnings, more))
        log.warning("loading again by a plan of %s", gib(found.peak_bytes))

    def _tried(self) -> str:
        return f"{self._device.name}: the models do not fit: out of memory in {self._sizes()}"

    def _sizes(self) -> str:
        """The plans that failed, for a person."""
        sizes = ", ".join(gib(one.peak_bytes) for one in self._failed)
        return f"{'plans' if len(self._failed) > 1 else 'a plan'} of {sizes}"

    def _smallest(self, card: Card) -> MemoryPlan:
        """The plan with the lowest peak, its limit such that it fits."""
        least = self._planned(card, 1)
        return self._planned(card, max(1, least.peak_bytes))

    def _planned(self, card: Card, limit_bytes: int = 0) -> MemoryPlan:
        """The plan for a card; with a limit of its own where it is below the operator's."""
        memory = self._preset.memory
        limits = [limit for limit in (limit_bytes, memory.limit_bytes) if limit]
        memory = memory.model_copy(update={"limit_bytes": min(limits, default=0)})
        return make_plan(
            card,
            self._preset,
            memory,
            rollback=self._rollback,
            installed=self._installed,
            arches=arches_here(),
        )


_FIX = "end what else runs there, or choose a smaller preset"


def _said(error: BaseException) -> str:
    """The first line of what a library said, for the log and the operator."""
    first = error.__cause__ or error
    return (str(first).strip() or type(first).__name__).splitlines()[0][:200]

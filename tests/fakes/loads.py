"""Engines for a daemon under load: quick, and ill now and then. None imports torch."""

from __future__ import annotations

import ctypes
import random
import time
from collections.abc import Callable

from miner.errors import OutOfMemory
from miner.job import JobSpec, Plan
from miner.pipeline.cancel import CancelFlag
from tests.fakes.engines import Quick, Sleeping, SlowToLoad

Progress = Callable[[str, int, int], None]

__all__ = ["Brief", "Ill", "Quick", "Sleeping", "SlowToLoad"]


class Brief(Quick):
    """Takes some milliseconds for a job."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        time.sleep(0.005)
        return super().generate(spec, progress, cancel, plan)


class Ill(Quick):
    """Of fifty jobs one crashes, one hangs for good and one runs out of memory."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        match random.randrange(50):
            case 0:
                ctypes.string_at(0)
            case 1:
                ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the GIL
            case 2:
                raise OutOfMemory("reconstruct", "the device ran out of memory")
        return super().generate(spec, progress, cancel, plan)

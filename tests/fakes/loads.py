"""Engines for a daemon under load: quick, and ill now and then. None imports torch."""

from __future__ import annotations

import ctypes
import math
import random
import time
from collections.abc import Callable

from miner.errors import OutOfMemory, StageError
from miner.job import Asset, Format, JobSpec, Plan
from miner.pipeline.attempts import Made, attempt
from miner.pipeline.cancel import CancelFlag
from tests.fakes.engines import Holding, Planned, Quick, Sleeping, SlowToLoad

Progress = Callable[[str, int, int], None]

__all__ = ["Breakable", "Brief", "Holding", "Ill", "Quick", "Sleeping", "SlowToLoad"]

ILLNESSES = ("crash", "hang", "out of memory")


class Breakable(Quick):
    """Has two generators; the first one fails while there is a file "broken"."""

    generators = ("triposr", "dreamgaussian")

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        self.made: Made[bytes] = attempt(
            plan, self._make, lambda: math.inf, lambda _: True, lambda *_: None
        )
        return self.made.result

    def _make(self, name: str, _steps: tuple[str, ...]) -> bytes:
        if name == "triposr" and (self.folder / "broken").exists():
            raise StageError("reconstruct", "broken by the test")
        return name.encode()

    def encode(self, raw: bytes, format: Format) -> Asset:
        made = self.made
        return Asset(raw, format, len(raw), made.generator, {"encode": 0.1}, made.cause)


class Brief(Quick):
    """Takes some milliseconds for a job."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        time.sleep(0.005)
        return super().generate(spec, progress, cancel, plan)


class Ill(Quick):
    """Crashes, hangs for good and runs out of memory: each once early, and then at random."""

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        early = (name for name in ILLNESSES if self.first_time(name))
        match next(early, None) or random.choice([*ILLNESSES, *["well"] * 47]):
            case "crash":
                ctypes.string_at(0)
            case "hang":
                ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the GIL
            case "out of memory":
                raise OutOfMemory("reconstruct", "the device ran out of memory")
        return super().generate(spec, progress, cancel, plan)


class Precise(Planned):
    """Tells its precision in its plan; some cannot be loaded or warmed up."""

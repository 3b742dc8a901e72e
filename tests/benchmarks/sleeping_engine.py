"""An engine for benchmarks of dispatching: a job sleeps as many seconds as its prompt says."""

from __future__ import annotations

import time

from miner.job import JobSpec, Plan
from miner.pipeline.cancel import CancelFlag
from tests.fakes.engines import Progress, Quick

RESULT_BYTES = 450_000
"""As an spz file of 40,000 Gaussians has."""


class SleepingEngine(Quick):
    """Holds nothing, and uses no processor."""

    generators = ("sleeping",)

    def generate(self, spec: JobSpec, progress: Progress, cancel: CancelFlag, plan: Plan) -> bytes:
        time.sleep(float(spec.prompt or 0))
        return b"\0" * RESULT_BYTES

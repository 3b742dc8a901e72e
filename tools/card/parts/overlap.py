"""Jobs an hour where the surface of one is made while the next one paints, and where not.

With the embedded preset, whose weights are in the package: on a card its stages are short beside
the surface, so that the gain is less than with full-size models.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from miner.job import JobSpec, Plan
from miner.pipeline.cancel import CancelFlag
from miner.settings import RollbackSettings, load_settings
from miner.workers.configurations import configuration
from miner.workers.engine import Configuration, PipelineEngine
from tools.card.bench import Bench
from tools.card.outcome import Outcome, Unmeasured

JOBS = 12
WAITING = 2
"""Jobs that wait for the thread of the surface, at most."""


def run(bench: Bench, out: Outcome) -> None:
    """The same jobs in each way, one after the other."""
    if "overlap" not in Configuration.model_fields:
        raise Unmeasured("this version has no setting for it")
    for how in ("off", "on"):
        with out.attempt(how):
            out.add(f"overlap {how}", _jobs_an_hour(bench, how), "jobs an hour")


def _jobs_an_hour(bench: Bench, how: str) -> float:
    settings = load_settings("mini")
    told = dict(configuration(settings, RollbackSettings()))
    engine: Any = PipelineEngine()
    engine.load({**told, "overlap": how, "device": "cpu" if bench.tiny else "cuda"})
    _job(engine, 0)
    count = 2 if bench.tiny else JOBS
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as thread:
        rest: list[Future[Any]] = []
        for number in range(count):
            if len(rest) > WAITING:
                rest.pop(0).result()
            made = _job(engine, number + 1)
            finish = getattr(made, "finish", None)
            if finish is not None:
                rest.append(thread.submit(finish))
        for one in rest:
            one.result()
    return 3600 * count / (time.perf_counter() - began)


def _job(engine: Any, seed: int) -> Any:
    spec = JobSpec(prompt="a red cube", seed=seed, format="spz")
    return engine.generate(spec, lambda *_: None, CancelFlag(), Plan())

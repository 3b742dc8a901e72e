"""The breaker's host and its executor, with fake workers: plans, outcomes, memory, what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.app.rollback import FACT, Rollback
from miner.app.rollback_executor import RollbackExecutor
from miner.errors import (
    BadImage,
    BadOutput,
    ControlError,
    JobCancelled,
    MinerError,
    OutOfMemory,
    StageError,
    WorkerLost,
)
from miner.executor import ExecutorHealth, OnProgress
from miner.job import Asset, Job, JobSpec, new_job_id
from miner.metrics import Metrics
from miner.settings import RollbackSettings

BOTH = ("triposr", "dreamgaussian")


@dataclass
class FakeWorkers:
    """Does what the script says of each job, by the plan; "ok" when it says nothing."""

    generators: tuple[str, ...] = BOTH
    script: list[str | MinerError] = field(default_factory=list)
    seen: list[Job] = field(default_factory=list)
    capacity: int = 1
    slots: int = 1
    service_seconds_hint: float | None = 2.5
    subscribed: list[Callable[[], None]] = field(default_factory=list)

    def capacity_for(self, generator: str) -> int:
        return self.capacity

    def slots_for(self, generator: str) -> int:
        return self.slots

    def seconds_hint_for(self, generator: str) -> float | None:
        return self.service_seconds_hint if generator == self.generators[0] else None

    async def submit(self, job: Job, on_progress: OnProgress | None = None) -> Asset:
        self.seen.append(job)
        answer = self.script.pop(0) if self.script else "ok"
        if isinstance(answer, MinerError):
            raise answer
        if answer == "wait":
            await asyncio.Event().wait()
        plan = job.plan
        made_by = plan.generator or self.generators[0]
        if answer == "ok":
            return asset(made_by)
        return asset(plan.fallback or made_by, cause=answer)

    def subscribe(self, changed: Callable[[], None]) -> None:
        self.subscribed.append(changed)

    def cancel(self, job_id: str) -> None: ...
    def health(self) -> ExecutorHealth:
        return ExecutorHealth([])

    async def drain(self) -> None: ...
    async def reload(self) -> None: ...


def asset(generator: str, cause: str = "") -> Asset:
    return Asset(b"x", "ply", 7000, generator, {}, cause)


@dataclass
class FakeJournal:
    facts: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def state(self, key: str) -> str | None:
        return self.facts.get(key)

    def set_state(self, key: str, value: str) -> None:
        self.facts[key] = value

    def event(self, kind: str, detail: Mapping[str, Any]) -> None:
        json.dumps(detail)
        self.events.append((kind, detail))


class Bench:
    """A host and its executor on a clock that the test holds."""

    def __init__(self, journal: FakeJournal | None = None, **keys: Any) -> None:
        self.now, self.wall = 100.0, 1e9
        self.workers, self.metrics = FakeWorkers(), Metrics()
        self.journal = journal or FakeJournal()
        defaults = {"failures": 2, "cool_down_seconds": 30.0, "steps": ("smaller_chunk",)}
        self.rollback = Rollback(
            RollbackSettings(**{**defaults, **keys}),
            self.journal,
            self.metrics,
            lambda: self.now,
            lambda: self.wall,
        )
        self.executor = RollbackExecutor(self.workers, self.rollback, 300.0, lambda: self.now)

    async def start(self) -> Bench:
        await self.rollback.recall(self.workers.generators)
        return self

    async def make(self, *script: str | MinerError, job: Job | None = None) -> Asset:
        self.workers.script = list(script)
        return await self.executor.submit(job or self.job())

    def job(self, left: float = 60.0) -> Job:
        return Job(new_job_id(), JobSpec("a cube"), "v", "api", deadline=self.now + left)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


async def test_a_plan_names_generators_and_time() -> None:
    """A job is told who makes it, who takes over, how long it has and what it may try before."""
    bench = await Bench().start()
    await bench.make(job=bench.job(left=42.0))
    plan = bench.workers.seen[0].plan

    assert (plan.generator, plan.fallback) == BOTH
    assert plan.seconds == pytest.approx(42.0)
    assert plan.least_seconds == 4.0
    assert plan.spare_steps == ("smaller_chunk",)


async def test_no_job_gets_more_time_than_its_worker() -> None:
    """The time in the plan is within what a worker may take."""
    bench = await Bench().start()
    await bench.make(job=bench.job(left=9999.0))

    assert bench.workers.seen[0].plan.seconds == 300.0


async def test_one_job_made_by_the_fallback_is_told_and_counted() -> None:
    """The asset says why, the journal and the metric that; the service stays where it is."""
    bench = await Bench().start()
    made = await bench.make("bad_output")

    assert (made.generator, made.cause) == ("dreamgaussian", "bad_output")
    assert bench.journal.events[0][0] == "rollback_job"
    assert bench.metric("miner_rollback_jobs_total", cause="bad_output") == 1
    assert bench.rollback.breaker.state == "closed"


async def test_failures_roll_the_service_back_and_a_probe_brings_it_home() -> None:
    """The whole way, with what is shown of it."""
    bench = await Bench().start()
    heard: list[float] = []
    bench.rollback.on_generator(lambda: heard.append(bench.now))
    for _ in range(2):
        await bench.make("exception")
    bench.wait(3.0)
    away = await bench.make()
    first = bench.metric("miner_rollback_first_result_seconds")
    shown = bench.rollback.report()
    bench.wait(30.0)
    back = await bench.make()

    assert (away.generator, away.cause) == ("dreamgaussian", "exception")
    assert first == pytest.approx(3.0)
    assert (shown["state"], shown["generator"]) == ("open", "dreamgaussian")
    assert (back.generator, back.cause) == ("triposr", "")
    assert heard == [100.0, 133.0]
    assert bench.metric("miner_generator_active", generator="triposr") == 1
    assert bench.metric("miner_rollback_state", state="closed") == 1
    assert bench.metric("miner_rollback_duration_seconds_count") == 1
    states = [detail["state"] for kind, detail in bench.journal.events if kind == "rollback"]
    assert states == ["open", "half_open", "closed"]


@pytest.mark.parametrize(
    "error",
    [StageError("surface", "x"), OutOfMemory("reconstruct", "x"), BadOutput("quality", "x")],
)
async def test_errors_of_the_generator_count(error: MinerError) -> None:
    """A job that fails for good counts as a failure of the primary."""
    bench = await Bench(steps=()).start()
    for _ in range(2):
        with pytest.raises(type(error)):
            await bench.make(error)

    assert bench.rollback.breaker.state == "open"


@pytest.mark.parametrize(
    "error", [BadImage("x"), JobCancelled("x"), StageError("text_to_image", "x")]
)
async def test_errors_of_others_do_not_count(error: MinerError) -> None:
    """A bad picture, a caller that left, or the stages before say nothing of the generator."""
    bench = await Bench(steps=()).start()
    for _ in range(5):
        with pytest.raises(type(error)):
            await bench.make(error)

    assert bench.rollback.breaker.state == "closed"


async def test_a_job_that_killed_its_worker_goes_elsewhere() -> None:
    """The second try of a job under which a worker died is not given to the primary."""
    bench = await Bench(failures=9).start()
    job = bench.job()
    with pytest.raises(WorkerLost):
        await bench.make(WorkerLost("gone"), job=job)
    made = await bench.make(job=job)
    other = await bench.make()

    assert (made.generator, made.cause) == ("dreamgaussian", "worker_lost")
    assert other.generator == "triposr"


async def test_a_cancelled_probe_leaves_the_place_to_the_next() -> None:
    """A probe whose caller leaves does not hold the service away for ever."""
    bench = await Bench().start()
    for _ in range(2):
        await bench.make("exception")
    bench.wait(30.0)
    probe = asyncio.create_task(bench.make("wait"))
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)

    assert (await bench.make()).generator == "triposr"
    assert bench.rollback.breaker.state == "closed"


async def test_out_of_memory_that_a_step_cured_leads_to_the_step() -> None:
    """Jobs that had to help themselves make the step hold for all."""
    bench = await Bench().start()
    for _ in range(2):
        await bench.make("out_of_memory")
    await bench.make()

    assert bench.workers.seen[-1].plan.steps == ("smaller_chunk",)
    assert bench.workers.seen[-1].plan.generator == "triposr"
    assert bench.metric("miner_rollback_step", step="smaller_chunk") == 1


async def test_people_pin_and_restore() -> None:
    """Rolled back by hand no job is given to the primary; restored, the next one is."""
    bench = await Bench().start()
    pinned = bench.rollback.rollback()
    away = await bench.make()
    bench.wait(1e5)
    still = await bench.make()
    bench.rollback.restore(hold=False)
    back = await bench.make()

    assert pinned["state"] == "pinned"
    assert (away.generator, away.cause) == ("dreamgaussian", "hand")
    assert still.generator == "dreamgaussian"
    assert bench.workers.seen[0].plan.fallback == ""
    assert back.generator == "triposr"


async def test_the_primary_can_be_held() -> None:
    """Held, it fails its jobs and is not left."""
    bench = await Bench(failures=1).start()
    bench.rollback.restore(hold=True)
    for _ in range(3):
        with pytest.raises(StageError):
            await bench.make(StageError("surface", "x"))

    assert bench.rollback.breaker.state == "pinned"


async def test_nothing_is_rolled_back_where_there_is_nothing_to_go_to() -> None:
    """Where workers have one generator no plan names another, and a verb is refused."""
    bench = Bench(failures=1, steps=())
    bench.workers.generators = ("fake",)
    await bench.start()
    for _ in range(3):
        with pytest.raises(StageError):
            await bench.make(StageError("surface", "x"))
    plan = bench.workers.seen[0].plan

    assert (plan.generator, plan.fallback) == ("triposr", "")
    assert bench.rollback.breaker.state == "closed"
    with pytest.raises(ControlError, match="dreamgaussian"):
        bench.rollback.rollback()


async def test_a_decision_survives_a_restart() -> None:
    """The next life begins where this one was, and shows it."""
    first = await Bench().start()
    first.rollback.rollback()
    second = await Bench(first.journal).start()
    made = await second.make()

    assert (made.generator, made.cause) == ("dreamgaussian", "hand")
    assert second.metric("miner_generator_active", generator="dreamgaussian") == 1


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"state": []}', '{"steps": 1}'])
async def test_a_damaged_memory_is_as_none(text: str) -> None:
    """Whatever the fact holds, the daemon starts with the primary."""
    bench = await Bench(FakeJournal({FACT: text})).start()

    assert (await bench.make()).generator == "triposr"


async def test_new_settings_hold_at_once() -> None:
    """A pin in the file takes effect on the next job; what the workers were started with stays."""
    bench = await Bench().start()
    new = RollbackSettings(pin="rollback", generator="another")
    bench.rollback.reconfigure(new)

    assert (await bench.make()).generator == "dreamgaussian"


async def test_the_hint_is_of_the_generator_in_use() -> None:
    """What the primary's warm-up took says nothing of the other generator."""
    bench = await Bench().start()
    before = bench.executor.service_seconds_hint
    bench.rollback.rollback()
    unknown = bench.executor.service_seconds_hint
    await bench.make()

    assert before == 2.5
    assert unknown is None
    assert bench.executor.service_seconds_hint == 0.0


ANSWERS = st.sampled_from(
    [
        "ok",
        "exception",
        "out_of_memory",
        StageError("surface", "x"),
        WorkerLost("x"),
        BadImage("x"),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANSWERS, st.floats(0, 100)), max_size=30))
def test_exactly_one_generator_answers_a_job(story: list[tuple[str | MinerError, float]]) -> None:
    """Each job that is answered has one asset, of the planned generator or of its fallback."""

    async def run() -> None:
        bench = await Bench().start()
        for answer, seconds in story:
            bench.wait(seconds)
            count = len(bench.workers.seen)
            try:
                made = await bench.make(answer)
            except MinerError:
                continue
            finally:
                assert len(bench.workers.seen) == count + 1
            plan = bench.workers.seen[-1].plan
            assert made.generator in (plan.generator, plan.fallback)
            assert made.generator == "triposr" or made.cause

    asyncio.run(run())

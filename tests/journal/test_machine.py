"""The journal against a dictionary: whatever is called in whatever order, with restarts between."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from miner.errors import KnownTask
from miner.job import Asset, Failure, Job
from miner.journal import Journal
from miner.journal.check import check_journal
from tests.journal.samples import FAILURE, SETTINGS, Clock, a_job, an_asset


@dataclass
class Known:
    """What the model knows of a job."""

    job: Job
    outcome: Asset | Failure | None = None
    finished_at: float = 0.0
    delivered_at: float | None = None
    kept: bool = False

    @property
    def expires_at(self) -> float:
        if self.delivered_at is None:
            return self.finished_at + SETTINGS.keep_results_seconds
        return self.delivered_at + SETTINGS.keep_delivered_seconds


class JournalMachine(RuleBasedStateMachine):
    """Each rule does the same to the journal and to the model."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock(0.0)
        self.model: dict[str, Known] = {}
        self.journal = self.open()

    def open(self) -> Journal:
        return self.runner.run(Journal.open(self.folder, SETTINGS, self.clock))

    def teardown(self) -> None:
        self.runner.run(self.journal.close())
        report = check_journal(self.folder, self.clock.now)
        self.runner.close()
        shutil.rmtree(self.folder)
        assert report.faults == ()

    @rule(target=jobs, task=st.none() | st.sampled_from("abc"))
    def accept(self, task: str | None) -> str:
        job = a_job(task_id=task)
        taken = task is not None and any(k.job.task_id == task for k in self.model.values())
        try:
            self.runner.run(self.journal.accept(job, 1.0))
        except KnownTask:
            assert taken
        else:
            assert not taken
            self.model[job.id] = Known(job)
        return job.id

    @rule(
        job_id=jobs,
        outcome=st.sampled_from([FAILURE, an_asset(b"1"), an_asset(b"22")]),
    )
    def finish(self, job_id: str, outcome: Asset | Failure) -> None:
        self.runner.run(self.journal.finish(job_id, outcome))
        known = self.model.get(job_id)
        if known is not None and known.outcome is None:
            known.outcome, known.finished_at = outcome, self.clock.now
            known.kept = isinstance(outcome, Asset)

    @rule(job_id=jobs)
    def deliver(self, job_id: str) -> None:
        self.runner.run(self.posted(self.journal.deliver, job_id))
        known = self.model.get(job_id)
        if known is not None and known.outcome is not None and known.delivered_at is None:
            known.delivered_at = self.clock.now

    @rule(job_id=jobs)
    def begin(self, job_id: str) -> None:
        self.runner.run(self.posted(self.journal.begin, job_id, 1))

    @staticmethod
    async def posted(post: object, *values: object) -> None:
        post(*values)  # type: ignore[operator]

    @rule(seconds=st.sampled_from([1.0, 599.0, 600.0, 3600.0, 7 * 86_400.0]))
    def sweep_later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.runner.run(self.journal.sweep())
        needed: dict[bytes, float] = {}
        for known in self.model.values():
            if known.kept and isinstance(known.outcome, Asset):
                data = known.outcome.data
                needed[data] = max(needed.get(data, 0.0), known.expires_at)
        for job_id, known in list(self.model.items()):
            if known.kept and isinstance(known.outcome, Asset):
                known.kept = needed[known.outcome.data] > self.clock.now
            old = known.finished_at + SETTINGS.keep_jobs_seconds <= self.clock.now
            if known.outcome is not None and not known.kept and old:
                del self.model[job_id]

    @rule()
    def restart(self) -> None:
        self.runner.run(self.journal.close())
        self.journal = self.open()

    @invariant()
    def agrees(self) -> None:
        unfinished = [job.id for job, _ in self.runner.run(self.journal.unfinished())]
        assert unfinished == [i for i, known in self.model.items() if known.outcome is None]
        for job_id, known in self.model.items():
            asset = self.runner.run(self.journal.asset(job_id))
            assert asset == (known.outcome if known.kept else None)
        stats = self.journal.stats
        kept = {k.outcome.data for k in self.model.values() if k.kept}  # type: ignore[union-attr]
        assert (stats.jobs, stats.unfinished) == (len(self.model), len(unfinished))
        assert (stats.results, stats.result_bytes) == (len(kept), sum(map(len, kept)))


def test_the_journal_is_a_dictionary_that_lasts() -> None:
    """Counts, results, ages and order agree with the model after every call and restart."""
    run_state_machine_as_test(
        JournalMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

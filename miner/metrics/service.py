"""Instruments of the service as a whole: what runs, whether it is ready, journal and log."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from miner.metrics.part import Part
from miner.readings import JournalReading


class ServiceMetrics(Part):
    """What runs here and how it stores and logs."""

    def __init__(self) -> None:
        super().__init__()
        self._service = _ServiceInstruments(self.registry)

    def build_info(self, version: str, preset: str, device: str) -> None:
        """What runs here; to be said once."""
        values = {"version": version, "preset": preset, "device": device}
        self._service.build.info({k: self._bound(f"build_{k}", v) for k, v in values.items()})

    def ready(self, ready: bool) -> None:
        """Whether new work is taken."""
        self._service.ready.set(ready)

    def limits(self, queue: int, objective_seconds: float, stages: Mapping[str, float]) -> None:
        """What the readings are to be compared with, from the settings.

        Args:
            queue: so many jobs may wait.
            objective_seconds: of a job; 0 without one.
            stages: seconds that each may take of that, by its name.
        """
        self._service.queue_limit.set(queue)
        self._service.objective.set(objective_seconds)
        for stage, seconds in stages.items():
            self._service.budget.labels(self._bound("budget", stage)).set(seconds)

    def disk(self, free_bytes: int, total_bytes: int) -> None:
        """How much room the file system of the state has for us."""
        self._service.disk_free.set(free_bytes)
        self._service.disk_total.set(total_bytes)

    def journal(self, stats: JournalReading) -> None:
        """How large the journal is and how it is doing."""
        self._service.journal_file.set(stats.file_bytes)
        self._service.journal_results.set(stats.result_bytes)
        self._service.journal_commits.inc(max(0, stats.commits - self._service.commits_counted))
        self._service.commits_counted = max(stats.commits, self._service.commits_counted)
        self._service.journal_commit.set(stats.commit_seconds)
        self._service.journal_failed.set(stats.failed is not None)

    def log_suppressed(self, kind: str, count: int) -> None:
        """So many log lines of a kind were not written."""
        self._service.suppressed.labels(self._bound("log", kind)).inc(max(0, count))


class _ServiceInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.build = Info("miner_build", "What runs here.", registry=registry)
        self.ready = gauge("miner_ready", "1 while new work is taken.")
        self.queue_limit = gauge("miner_queue_limit", "Jobs that may wait.")
        self.objective = gauge(
            "miner_job_objective_seconds", "What 95 of 100 jobs should take at most; 0 has none."
        )
        self.budget = gauge(
            "miner_stage_budget_seconds", "What a stage may take of the objective.", ["stage"]
        )
        self.disk_free = gauge("miner_disk_free_bytes", "Room for us where the state lies.")
        self.disk_total = gauge("miner_disk_size_bytes", "Of the file system of the state.")
        self.journal_file = gauge("miner_journal_size_bytes", "Of the journal's files.")
        self.journal_results = gauge("miner_journal_results_bytes", "Of the results kept.")
        self.journal_commits = counter("miner_journal_commits", "Transactions brought to disk.")
        self.commits_counted = 0
        self.journal_failed = gauge("miner_journal_failed", "1 while nothing can be written.")
        self.journal_commit = gauge("miner_journal_commit_seconds", "What the last commit took.")
        self.suppressed = counter(
            "miner_log_lines_suppressed", "Log lines not written, to keep the log short.", ["kind"]
        )

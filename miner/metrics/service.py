"""Instruments of the service as a whole: what runs, whether it is ready, journal and log."""

from __future__ import annotations

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
        self.journal_file = gauge("miner_journal_size_bytes", "Of the journal's files.")
        self.journal_results = gauge("miner_journal_results_bytes", "Of the results kept.")
        self.journal_commits = counter("miner_journal_commits", "Transactions brought to disk.")
        self.commits_counted = 0
        self.journal_failed = gauge("miner_journal_failed", "1 while nothing can be written.")
        self.journal_commit = gauge("miner_journal_commit_seconds", "What the last commit took.")
        self.suppressed = counter(
            "miner_log_lines_suppressed", "Log lines not written, to keep the log short.", ["kind"]
        )

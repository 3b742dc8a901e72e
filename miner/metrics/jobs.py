"""Instruments of jobs: how many, how long, how large, how good."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miner.metrics.part import SCORE_BUCKETS, Part, at_least_zero

JOB_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120)
"""Seconds. Dense where jobs lie: from the embedded preset to the longest a validator waits."""

STAGE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120)
"""Seconds. Encoding takes hundredths, painting seconds."""

BYTES_BUCKETS = (65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0, 268435456.0)
GAUSSIANS_BUCKETS = (1e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 5e5, 1e6)


class JobMetrics(Part):
    """What becomes of jobs, from the queue to the result."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs = _JobInstruments(self.registry)

    def job_accepted(self, identity: str, intake: str) -> None:
        """A job is in the queue and the journal."""
        labels = self._bound("identity", identity), self._bound("intake", intake)
        self._jobs.accepted.labels(*labels).inc()

    def job_refused(self, identity: str, code: str) -> None:
        """The queue refused a job; ``code`` is the error's."""
        labels = self._bound("identity", identity), self._bound("refused", code)
        self._jobs.refused.labels(*labels).inc()

    def job_joined(self) -> None:
        """A job shares the generation of an equal one."""
        self._jobs.joined.inc()

    def job_finished(
        self,
        identity: str,
        intake: str,
        code: str,
        seconds: float,
        generator: str | None = None,
    ) -> None:
        """A job has its outcome.

        Args:
            identity: the one it was asked of.
            intake: the door it came through.
            code: "ok", or the failure's.
            seconds: from acceptance to outcome.
            generator: what made the asset, where there is one.
        """
        whose = self._bound("identity", identity), self._bound("intake", intake)
        self._jobs.finished.labels(*whose, self._bound("finished", code)).inc()
        outcome = "ok" if code == "ok" else "failed"
        generator = self._bound("generator", generator or "none")
        self._jobs.duration.labels(*whose, generator, outcome).observe(at_least_zero(seconds))

    def job_waited(self, seconds: float) -> None:
        """A job began, so long after it was accepted."""
        self._jobs.wait.observe(at_least_zero(seconds))

    def stage(self, stage: str, generator: str, seconds: float) -> None:
        """A stage of a job took so long."""
        labels = self._bound("stage", stage), self._bound("generator", generator)
        self._jobs.stage.labels(*labels).observe(at_least_zero(seconds))

    def asset(self, generator: str, bytes: int, gaussians: int) -> None:
        """A result came, of this size."""
        generator = self._bound("generator", generator)
        self._jobs.bytes.labels(generator).observe(at_least_zero(bytes))
        self._jobs.gaussians.labels(generator).observe(at_least_zero(gaussians))

    def self_checked(self, score: float, passed: bool, candidates: int) -> None:
        """A result was checked before it left its worker.

        Args:
            score: of the one taken, 0 to 1.
            passed: it reached the threshold.
            candidates: how many were made for it.
        """
        self._jobs.check_score.observe(at_least_zero(score))
        self._jobs.check_failed.inc(not passed)
        self._jobs.candidates.inc(candidates)

    def queue(self, depth: int, in_flight: int) -> None:
        """So many jobs wait, and so many are being done."""
        self._jobs.depth.set(depth)
        self._jobs.in_flight.set(in_flight)


class _JobInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.accepted = counter(
            "miner_jobs_accepted", "Jobs taken into the queue.", ["identity", "intake"]
        )
        self.refused = counter(
            "miner_jobs_refused", "Jobs the queue did not take.", ["identity", "code"]
        )
        self.joined = counter("miner_jobs_joined", "Jobs that share an equal one's generation.")
        self.finished = counter(
            "miner_jobs_finished",
            "Jobs with an outcome; code is ok or why not.",
            ["identity", "intake", "code"],
        )
        self.duration = histogram(
            "miner_job_duration_seconds",
            "From acceptance to outcome.",
            ["identity", "intake", "generator", "outcome"],
            buckets=JOB_BUCKETS,
        )
        self.wait = histogram(
            "miner_job_wait_seconds", "From acceptance to the start of work.", buckets=JOB_BUCKETS
        )
        self.stage = histogram(
            "miner_stage_duration_seconds",
            "Time in one stage of one job.",
            ["stage", "generator"],
            buckets=STAGE_BUCKETS,
        )
        self.bytes = histogram(
            "miner_asset_size_bytes", "Size of results.", ["generator"], buckets=BYTES_BUCKETS
        )
        self.gaussians = histogram(
            "miner_asset_gaussians",
            "Gaussians in results.",
            ["generator"],
            buckets=GAUSSIANS_BUCKETS,
        )
        self.check_score = histogram(
            "miner_self_check_score",
            "What the self-check expects the subnet's score of a result to be.",
            buckets=SCORE_BUCKETS,
        )
        self.check_failed = counter(
            "miner_self_checks_below_threshold", "Results whose score is under the threshold."
        )
        self.candidates = counter(
            "miner_candidates", "Candidates made for the results that were checked."
        )
        self.depth = gauge("miner_queue_depth", "Jobs that wait.")
        self.in_flight = gauge("miner_jobs_in_flight", "Jobs being done.")

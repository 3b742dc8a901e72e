"""Every Prometheus instrument of the daemon, on a registry of its own.

Names carry their unit and one prefix; what they mean stands beside them. Label values are bounded:
a label takes its first ``MAX_VALUES`` values and then only "other", so that no caller from outside
can make the page grow. Prompts, job ids and addresses are never labels.

Every method is cheap, may be called from any thread, and never raises. The page itself is served
by ``network/health.py``; the workers have no registry, their readings come over their channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from miner.readings import DeviceReading, JournalReading, StandingReading, WorkerReading

MAX_VALUES = 64
"""Of one label of one instrument: above the routes, error codes and devices there really are."""

MAX_LABEL_CHARACTERS = 64

JOB_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120)
"""Seconds. Dense where jobs lie: from the embedded preset to the longest a validator waits."""

STAGE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120)
"""Seconds. Encoding takes hundredths, painting seconds."""

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120)
"""Seconds. Refusals take milliseconds; an answer that waits for its job takes as long as that."""

BYTES_BUCKETS = (65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0, 268435456.0)
GAUSSIANS_BUCKETS = (1e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 5e5, 1e6)

ROLLBACK_BUCKETS = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
"""Seconds. From a short cool-down to a day."""

BREAKER_STATES = ("closed", "open", "half_open", "pinned")

WORKER_STATES = ("starting", "ready", "busy", "draining", "restarting", "stopped", "failed")

WORKER_MEMORY = {
    "resident": ("resident_memory_bytes", "Resident memory of the worker process."),
    "gpu_allocated": ("gpu_memory_allocated_bytes", "Held by live tensors of the worker."),
    "gpu_reserved": ("gpu_memory_reserved_bytes", "Held by the worker's allocator."),
    "gpu_peak": ("gpu_memory_peak_bytes", "Most that live tensors held at once."),
    "gpu_used": ("gpu_memory_used_bytes", "Used on the worker's device, by whomever."),
    "gpu_total": ("gpu_memory_total_bytes", "There is on the worker's device."),
    "gpu_estimated": ("gpu_memory_estimated_bytes", "The plan's estimate of the peak."),
    "gpu_planned": ("gpu_memory_planned_bytes", "The plan's limit for this worker."),
}
"""Readings of a worker by name, and the gauges that show them."""

SCORE_BUCKETS = (0.0, 0.3, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
"""Dense around the threshold of acceptance, 0.6."""

VALIDATOR_READINGS = {
    "cooldown": ("cooldown_seconds", "Until a validator may be asked again."),
    "average": ("average_score", "A validator's smoothed score of our results."),
    "rating": ("duel_rating", "Our rating at a validator; 1500 for a newcomer."),
    "reward": ("reward", "What a validator makes our weight of."),
}
"""Readings of a validator by name, and the gauges that show them."""


class _Bounds:
    """Keeps the values of labels few. Its one piece of state only grows, to a bound."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def __call__(self, label: str, value: object) -> str:
        text = str(value)[:MAX_LABEL_CHARACTERS]
        text = text.encode("utf-8", "replace").decode()  # lone surrogates would break the page
        seen = self._seen.setdefault(label, set())
        if text in seen:
            return text
        if len(seen) >= MAX_VALUES:
            return "other"
        seen.add(text)
        return text


class Metrics:
    """All instruments. One for the process; the page is made of ``registry``."""

    def __init__(self) -> None:
        # Else each counter and histogram has one more series, that nothing here reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._bound = _Bounds()
        self._jobs = _JobInstruments(self.registry)
        self._http = _HttpInstruments(self.registry)
        self._workers = _WorkerInstruments(self.registry)
        self._devices = _DeviceInstruments(self.registry)
        self._service = _ServiceInstruments(self.registry)
        self._rollback = _RollbackInstruments(self.registry)
        self._chain = _ChainInstruments(self.registry)
        self._pull = _PullInstruments(self.registry)

    # Jobs

    def job_accepted(self, intake: str) -> None:
        """A job is in the queue and the journal."""
        self._jobs.accepted.labels(self._bound("intake", intake)).inc()

    def job_refused(self, code: str) -> None:
        """The queue refused a job; ``code`` is the error's."""
        self._jobs.refused.labels(self._bound("refused", code)).inc()

    def job_joined(self) -> None:
        """A job shares the generation of an equal one."""
        self._jobs.joined.inc()

    def job_finished(
        self, intake: str, code: str, seconds: float, generator: str | None = None
    ) -> None:
        """A job has its outcome.

        Args:
            intake: the door it came through.
            code: "ok", or the failure's.
            seconds: from acceptance to outcome.
            generator: what made the asset, where there is one.
        """
        intake = self._bound("intake", intake)
        self._jobs.finished.labels(intake, self._bound("finished", code)).inc()
        outcome = "ok" if code == "ok" else "failed"
        generator = self._bound("generator", generator or "none")
        self._jobs.duration.labels(intake, generator, outcome).observe(_at_least_zero(seconds))

    def job_waited(self, seconds: float) -> None:
        """A job began, so long after it was accepted."""
        self._jobs.wait.observe(_at_least_zero(seconds))

    def stage(self, stage: str, generator: str, seconds: float) -> None:
        """A stage of a job took so long."""
        labels = self._bound("stage", stage), self._bound("generator", generator)
        self._jobs.stage.labels(*labels).observe(_at_least_zero(seconds))

    def asset(self, generator: str, bytes: int, gaussians: int) -> None:
        """A result came, of this size."""
        generator = self._bound("generator", generator)
        self._jobs.bytes.labels(generator).observe(_at_least_zero(bytes))
        self._jobs.gaussians.labels(generator).observe(_at_least_zero(gaussians))

    def self_checked(self, score: float, passed: bool, candidates: int) -> None:
        """A result was checked before it left its worker.

        Args:
            score: of the one taken, 0 to 1.
            passed: it reached the threshold.
            candidates: how many were made for it.
        """
        self._jobs.check_score.observe(_at_least_zero(score))
        self._jobs.check_failed.inc(not passed)
        self._jobs.candidates.inc(candidates)

    def queue(self, depth: int, in_flight: int) -> None:
        """So many jobs wait, and so many are being done."""
        self._jobs.depth.set(depth)
        self._jobs.in_flight.set(in_flight)

    # HTTP servers

    def request(self, server: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route`` is the pattern that matched, never the path."""
        server, route = self._bound("server", server), self._bound("route", route)
        self._http.requests.labels(server, route, self._bound("status", status)).inc()
        self._http.duration.labels(server, route).observe(_at_least_zero(seconds))

    def rejected(self, code: str) -> None:
        """Admission turned a request away; ``code`` is the error's."""
        self._http.rejected.labels(self._bound("rejected", code)).inc()

    def connection_refused(self, server: str, reason: str) -> None:
        """A connection was closed for one of the limits."""
        labels = self._bound("server", server), self._bound("refused_connection", reason)
        self._http.refused.labels(*labels).inc()

    def malformed(self, server: str, kind: str) -> None:
        """What came was not HTTP as it should be."""
        labels = self._bound("server", server), self._bound("malformed", kind)
        self._http.malformed.labels(*labels).inc()

    def connections(self, server: str, open: int) -> None:
        """So many connections are open."""
        self._http.open.labels(self._bound("server", server)).set(open)

    # Gateways

    def gateway_call(self, call: str, outcome: str) -> None:
        """A gateway was asked for work, or what became of a task was brought to it.

        Args:
            call: "get_tasks" or "add_result".
            outcome: "tasks" or "nothing"; "success" or "failure" of what was brought, "expired"
                where nobody waited any more; else the error's code.
        """
        labels = self._bound("gateway_call", call), self._bound("gateway", outcome)
        self._http.gateway.labels(*labels).inc()

    # Workers and devices

    def worker(self, health: WorkerReading) -> None:
        """How a worker is. A reading that is no longer there takes its series away."""
        worker = self._bound("worker", health.name)
        for state in WORKER_STATES:
            self._workers.state.labels(worker, state).set(state == health.state)
        _set(self._workers.heartbeat, (worker,), health.heartbeat_age)
        for reading, gauge in self._workers.memory.items():
            _set(gauge, (worker,), health.memory.get(reading))
        for stage, seconds in health.load_seconds.items():
            self._workers.load.labels(worker, self._bound("load_stage", stage)).set(seconds)

    def worker_restarted(self, name: str, reason: str) -> None:
        """A worker died or was killed, and a new one takes its place."""
        labels = self._bound("worker", name), self._bound("restart", reason)
        self._workers.restarts.labels(*labels).inc()

    def generator_active(self, name: str) -> None:
        """New jobs go to this generator, and to no other."""
        name = self._bound("generator_active", name)
        self._service.generators.add(name)
        for known in tuple(self._service.generators):
            self._service.generator.labels(known).set(known == name)

    def rollback_state(self, state: str, steps: tuple[str, ...]) -> None:
        """How the breaker is, and which smaller steps are in force."""
        for known in BREAKER_STATES:
            self._rollback.state.labels(known).set(state == known)
        self._rollback.steps.update(self._bound("step", step) for step in steps)
        for step in self._rollback.steps:
            self._rollback.step.labels(step).set(step in steps)

    def rollback_changed(self, state: str, cause: str) -> None:
        """The breaker decided something; ``state`` is the one it is in now."""
        labels = self._bound("breaker", state), self._bound("cause", cause)
        self._rollback.changes.labels(*labels).inc()

    def rollback_lasts(self, seconds: float) -> None:
        """New jobs have gone to the rollback generator so long; 0 while they do not."""
        self._rollback.active.set(_at_least_zero(seconds))

    def rollback_lasted(self, seconds: float) -> None:
        """New jobs go to the primary again, after so long."""
        self._rollback.duration.observe(_at_least_zero(seconds))

    def rollback_job(self, cause: str) -> None:
        """One job was made by another generator than planned."""
        self._rollback.jobs.labels(self._bound("cause", cause)).inc()

    def rollback_first_result(self, seconds: float) -> None:
        """The first result of a rollback came so long after the decision."""
        self._rollback.first_result.set(_at_least_zero(seconds))

    def gpu(self, reading: DeviceReading) -> None:
        """How a GPU is, by its driver."""
        gpu = self._bound("gpu", reading.index)
        self._devices.info.labels(gpu).info({"name": self._bound("gpu_name", reading.name)})
        _set(self._devices.used, (gpu,), reading.used_bytes)
        _set(self._devices.total, (gpu,), reading.total_bytes)
        _set(self._devices.utilization, (gpu,), reading.utilization)
        _set(self._devices.temperature, (gpu,), reading.celsius)
        _set(self._devices.power, (gpu,), reading.watts)

    # The service

    def journal(self, stats: JournalReading) -> None:
        """How large the journal is and how it is doing."""
        self._service.journal_file.set(stats.file_bytes)
        self._service.journal_results.set(stats.result_bytes)
        self._service.journal_commits.inc(max(0, stats.commits - self._service.commits_counted))
        self._service.commits_counted = max(stats.commits, self._service.commits_counted)
        self._service.journal_commit.set(stats.commit_seconds)
        self._service.journal_failed.set(stats.failed is not None)

    def peers(self, count: int, age_seconds: float) -> None:
        """How many peers the snapshot holds, and how old it is."""
        self._service.peers.set(count)
        self._service.peers_age.set(age_seconds)

    def chain_synced(self, outcome: str, seconds: float | None) -> None:
        """An attempt to read the subnet ended; ``seconds`` it took where it came to a reading."""
        self._chain.syncs.labels(self._bound("sync", outcome)).inc()
        if seconds is not None:
            self._chain.sync_seconds.set(_at_least_zero(seconds))

    def chain_published(self, what: str, outcome: str) -> None:
        """An address was written to the chain, or could not be."""
        labels = self._bound("published", what), self._bound("publication", outcome)
        self._chain.published.labels(*labels).inc()

    def standing(self, standing: StandingReading) -> None:
        """How we stand in the subnet."""
        self._chain.block.set(standing.block)
        self._chain.registered.set(standing.registered)
        self._chain.uid.set(-1 if standing.uid is None else standing.uid)
        self._chain.rank.set(-1 if standing.rank is None else standing.rank)
        self._chain.incentive.set(standing.incentive)
        self._chain.emission.set(standing.emission)
        self._chain.stake.set(standing.stake)
        self._chain.immune.set(standing.immune_blocks)

    def pulled(self, outcome: str) -> None:
        """A validator was asked for a task: "task", "again", "cooldown", "nothing" or "failed"."""
        self._pull.pulls.labels(self._bound("pulled", outcome)).inc()

    def submitted(self, outcome: str) -> None:
        """A result was brought: "accepted", "rejected", "skipped", "unknown" or "failed"."""
        self._pull.submissions.labels(self._bound("submitted", outcome)).inc()

    def judged(self, score: float) -> None:
        """A validator scored a result, 0 to 1."""
        self._pull.score.observe(_at_least_zero(score))

    def validator(self, hotkey: str, readings: Mapping[str, float | None] | None) -> None:
        """How it stands with a validator, by the names of ``VALIDATOR_READINGS``; None forgets."""
        hotkey = self._bound("validator", hotkey)
        for name, gauge in self._pull.validators.items():
            _set(gauge, (hotkey,), None if readings is None else readings.get(name))

    def build_info(self, version: str, preset: str, device: str) -> None:
        """What runs here; to be said once."""
        values = {"version": version, "preset": preset, "device": device}
        self._service.build.info({k: self._bound(f"build_{k}", v) for k, v in values.items()})

    def ready(self, ready: bool) -> None:
        """Whether new work is taken."""
        self._service.ready.set(ready)

    def log_suppressed(self, kind: str, count: int) -> None:
        """So many log lines of a kind were not written."""
        self._service.suppressed.labels(self._bound("log", kind)).inc(max(0, count))

    def totals(self) -> dict[str, float]:
        """The counters of jobs and requests, summed over their labels, for the status page."""
        counters = {
            "jobs_accepted": self._jobs.accepted,
            "jobs_refused": self._jobs.refused,
            "jobs_joined": self._jobs.joined,
            "jobs_finished": self._jobs.finished,
            "requests": self._http.requests,
            "requests_rejected": self._http.rejected,
            "requests_malformed": self._http.malformed,
            "worker_restarts": self._workers.restarts,
        }
        return {name: _sum(counter) for name, counter in counters.items()}


class _JobInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.accepted = counter("miner_jobs_accepted", "Jobs taken into the queue.", ["intake"])
        self.refused = counter("miner_jobs_refused", "Jobs the queue did not take.", ["code"])
        self.joined = counter("miner_jobs_joined", "Jobs that share an equal one's generation.")
        self.finished = counter(
            "miner_jobs_finished",
            "Jobs with an outcome; code is ok or why not.",
            ["intake", "code"],
        )
        self.duration = histogram(
            "miner_job_duration_seconds",
            "From acceptance to outcome.",
            ["intake", "generator", "outcome"],
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


class _HttpInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = counter(
            "miner_http_requests", "Requests answered.", ["server", "route", "status"]
        )
        self.duration = histogram(
            "miner_http_request_duration_seconds",
            "From a request's header to the end of its answer.",
            ["server", "route"],
            buckets=REQUEST_BUCKETS,
        )
        self.rejected = counter(
            "miner_requests_rejected", "Requests that admission turned away.", ["code"]
        )
        self.refused = counter(
            "miner_connections_refused", "Connections closed for a limit.", ["server", "reason"]
        )
        self.malformed = counter(
            "miner_malformed_requests", "Requests that were not good HTTP.", ["server", "kind"]
        )
        self.gateway = counter(
            "miner_gateway_calls", "Calls to gateways, by what came of them.", ["call", "outcome"]
        )
        self.open = gauge("miner_open_connections", "Connections open.", ["server"])


class _WorkerInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.state = gauge(
            "miner_worker_state", "1 for the state a worker is in, else 0.", ["worker", "state"]
        )
        self.heartbeat = gauge(
            "miner_worker_heartbeat_age_seconds", "Since a worker's last sign of life.", ["worker"]
        )
        self.load = gauge(
            "miner_worker_load_seconds", "What loading and warming up took.", ["worker", "stage"]
        )
        self.restarts = counter(
            "miner_worker_restarts", "Workers replaced, by reason.", ["worker", "reason"]
        )
        self.memory = {
            reading: gauge(f"miner_worker_{name}", text, ["worker"])
            for reading, (name, text) in WORKER_MEMORY.items()
        }


class _DeviceInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self.info = Info(
            "miner_gpu", "The product behind a GPU's index.", ["gpu"], registry=registry
        )
        self.used = gauge("miner_gpu_memory_used_bytes", "Memory in use on a GPU.", ["gpu"])
        self.total = gauge("miner_gpu_memory_total_bytes", "Memory of a GPU.", ["gpu"])
        self.utilization = gauge(
            "miner_gpu_utilization_ratio", "Share of the time a kernel ran.", ["gpu"]
        )
        self.temperature = gauge("miner_gpu_temperature_celsius", "Of a GPU's chip.", ["gpu"])
        self.power = gauge("miner_gpu_power_watts", "Power that a GPU draws.", ["gpu"])


class _ServiceInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.build = Info("miner_build", "What runs here.", registry=registry)
        self.ready = gauge("miner_ready", "1 while new work is taken.")
        self.generator = gauge(
            "miner_generator_active", "1 for the generator that new jobs go to.", ["generator"]
        )
        self.generators: set[str] = set()
        self.peers = gauge("miner_peers", "Hotkeys in the snapshot of the subnet.")
        self.peers_age = gauge("miner_peers_age_seconds", "Since that snapshot was taken.")
        self.journal_file = gauge("miner_journal_size_bytes", "Of the journal's files.")
        self.journal_results = gauge("miner_journal_results_bytes", "Of the results kept.")
        self.journal_commits = counter("miner_journal_commits", "Transactions brought to disk.")
        self.commits_counted = 0
        self.journal_failed = gauge("miner_journal_failed", "1 while nothing can be written.")
        self.journal_commit = gauge("miner_journal_commit_seconds", "What the last commit took.")
        self.suppressed = counter(
            "miner_log_lines_suppressed", "Log lines not written, to keep the log short.", ["kind"]
        )


class _ChainInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.syncs = counter("miner_chain_syncs", "Attempts to read the subnet.", ["outcome"])
        self.sync_seconds = gauge("miner_chain_sync_seconds", "What the last reading took.")
        self.published = counter(
            "miner_chain_publications", "Addresses written to the chain.", ["what", "outcome"]
        )
        self.block = gauge("miner_chain_block", "Of the last reading.")
        self.registered = gauge("miner_registered", "1 while our hotkey is registered.")
        self.uid = gauge("miner_uid", "Our place in the subnet; -1 without one.")
        self.rank = gauge("miner_rank", "1 for the highest incentive; -1 without a place.")
        self.incentive = gauge("miner_incentive_ratio", "Our share of the subnet's incentive.")
        self.emission = gauge("miner_emission_alpha", "What the last tempo brought us.")
        self.stake = gauge("miner_stake_alpha", "Staked to our hotkey.")
        self.immune = gauge(
            "miner_immunity_blocks", "Until a newcomer may take our place; 0 when one may."
        )


class _PullInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        self.pulls = counter("miner_pulls", "Times a validator was asked for a task.", ["outcome"])
        self.submissions = counter(
            "miner_submissions",
            "Results brought to validators, and tries that failed.",
            ["outcome"],
        )
        self.score = Histogram(
            "miner_submission_score", "Of results.", buckets=SCORE_BUCKETS, registry=registry
        )
        self.validators = {
            reading: Gauge(f"miner_validator_{name}", text, ["validator"], registry=registry)
            for reading, (name, text) in VALIDATOR_READINGS.items()
        }


class _RollbackInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.state = gauge(
            "miner_rollback_state", "1 for the state the breaker is in, else 0.", ["state"]
        )
        self.step = gauge("miner_rollback_step", "1 while a smaller step is in force.", ["step"])
        self.steps: set[str] = set()
        self.changes = counter(
            "miner_rollback_changes", "Decisions of the breaker.", ["state", "cause"]
        )
        self.jobs = counter(
            "miner_rollback_jobs", "Jobs made by another generator than planned.", ["cause"]
        )
        self.active = gauge(
            "miner_rollback_active_seconds", "So long the service has been rolled back; 0 if not."
        )
        self.duration = Histogram(
            "miner_rollback_duration_seconds",
            "How long the service was rolled back, each time.",
            buckets=ROLLBACK_BUCKETS,
            registry=registry,
        )
        self.first_result = gauge(
            "miner_rollback_first_result_seconds",
            "From the last rollback to the first result after it.",
        )


def _set(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    if value is not None:
        gauge.labels(*labels).set(value)
    else:
        gauge.remove(*labels)


def _at_least_zero(value: float) -> float:
    """Also for a clock that was set back or a NaN: a sum must never fall."""
    return value if value > 0 else 0.0


def _sum(counter: Counter) -> float:
    samples = (sample for family in counter.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))

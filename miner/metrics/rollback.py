"""Instruments of the choice between generators."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miner.metrics.part import Part, at_least_zero

ROLLBACK_BUCKETS = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
"""Seconds. From a short cool-down to a day."""

BREAKER_STATES = ("closed", "open", "half_open", "pinned")


class RollbackMetrics(Part):
    """Which generator is in use, and why."""

    def __init__(self) -> None:
        super().__init__()
        self._rollback = _RollbackInstruments(self.registry)

    def generator_active(self, name: str) -> None:
        """New jobs go to this generator, and to no other."""
        name = self._bound("generator_active", name)
        self._rollback.generators.add(name)
        for known in tuple(self._rollback.generators):
            self._rollback.generator.labels(known).set(known == name)

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
        self._rollback.active.set(at_least_zero(seconds))

    def rollback_lasted(self, seconds: float) -> None:
        """New jobs go to the primary again, after so long."""
        self._rollback.duration.observe(at_least_zero(seconds))

    def rollback_job(self, cause: str) -> None:
        """One job was made by another generator than planned."""
        self._rollback.jobs.labels(self._bound("cause", cause)).inc()

    def rollback_first_result(self, seconds: float) -> None:
        """The first result of a rollback came so long after the decision."""
        self._rollback.first_result.set(at_least_zero(seconds))


class _RollbackInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.generator = gauge(
            "miner_generator_active", "1 for the generator that new jobs go to.", ["generator"]
        )
        self.generators: set[str] = set()
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

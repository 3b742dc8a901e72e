"""Instruments of the workers and of the devices they run on."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from miner.metrics.part import Part, set_or_remove
from miner.readings import DeviceReading, WorkerReading

WORKER_STATES = ("starting", "ready", "busy", "draining", "restarting", "stopped", "failed")

RESTARTS = ("crash", "hang", "job_limit", "start", "memory_growth", "reload", "broken", "slow")
"""Why a worker is replaced; the same words as in ``workers/life.py``."""

WORKER_MEMORY = {
    "resident": ("resident_memory_bytes", "Resident memory of the worker process."),
    "gpu_allocated": ("gpu_memory_allocated_bytes", "Held by live tensors of the worker."),
    "gpu_reserved": ("gpu_memory_reserved_bytes", "Held by the worker's allocator."),
    "gpu_peak": ("gpu_memory_peak_bytes", "Most that live tensors held at once."),
    "gpu_used": ("gpu_memory_used_bytes", "Used on the worker's device, by whomever."),
    "gpu_outside": ("gpu_memory_outside_bytes", "Held by the worker outside torch's allocator."),
    "gpu_total": ("gpu_memory_total_bytes", "There is on the worker's device."),
    "gpu_estimated": ("gpu_memory_estimated_bytes", "The plan's estimate of the peak."),
    "gpu_planned": ("gpu_memory_planned_bytes", "The plan's limit for this worker."),
}
"""Readings of a worker by name, and the gauges that show them."""


class WorkerMetrics(Part):
    """How workers and GPUs are."""

    def __init__(self) -> None:
        super().__init__()
        self._workers = _WorkerInstruments(self.registry)
        self._devices = _DeviceInstruments(self.registry)
        self._lives: dict[str, tuple[object, ...]] = {}  # by worker: what was last shown of it

    def worker(self, health: WorkerReading) -> None:
        """How a worker is. A reading that is no longer there takes its series away."""
        worker = self._bound("worker", health.name)
        set_or_remove(self._workers.heartbeat, (worker,), health.heartbeat_age)
        for reading, gauge in self._workers.memory.items():
            set_or_remove(gauge, (worker,), health.memory.get(reading))
        # The rest is two dozen series that seldom change: a large fleet is read every 2 s.
        life = health.state, health.node, health.generators, dict(health.load_seconds)
        if self._lives.get(health.name) != life:
            self._lives[health.name] = life
            self._show_life(worker, health)

    def _show_life(self, worker: str, health: WorkerReading) -> None:
        for state in WORKER_STATES:
            self._workers.state.labels(worker, state).set(state == health.state)
        if health.node:
            self._workers.place.labels(worker).info({"node": self._bound("node", health.node)})
        if health.generators:
            held = self._bound("worker_generators", ",".join(health.generators))
            self._workers.generators.labels(worker).info({"generators": held})
        for reason in RESTARTS:  # from the start, so that a rate can see the first of them
            self._workers.restarts.labels(worker, self._bound("restart", reason))
        for stage, seconds in health.load_seconds.items():
            self._workers.load.labels(worker, self._bound("load_stage", stage)).set(seconds)

    def worker_restarted(self, name: str, reason: str) -> None:
        """A worker died or was killed, and a new one takes its place."""
        labels = self._bound("worker", name), self._bound("restart", reason)
        self._workers.restarts.labels(*labels).inc()

    def out_of_memory(self, stage: str, recovered: bool) -> None:
        """Memory ran out in a stage of a job; it went with less, or did not."""
        labels = self._bound("short_stage", stage), "yes" if recovered else "no"
        self._workers.short.labels(*labels).inc()

    def gpu(self, reading: DeviceReading) -> None:
        """How a GPU is, by its driver."""
        gpu = self._bound("gpu", reading.label)
        self._devices.info.labels(gpu).info({"name": self._bound("gpu_name", reading.name)})
        set_or_remove(self._devices.used, (gpu,), reading.used_bytes)
        set_or_remove(self._devices.total, (gpu,), reading.total_bytes)
        set_or_remove(self._devices.utilization, (gpu,), reading.utilization)
        set_or_remove(self._devices.temperature, (gpu,), reading.celsius)
        set_or_remove(self._devices.power, (gpu,), reading.watts)


class _WorkerInstruments:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.state = gauge(
            "miner_worker_state", "1 for the state a worker is in, else 0.", ["worker", "state"]
        )
        self.place = Info(
            "miner_worker_place",
            "The node that a worker runs on, where that is not the daemon's host.",
            ["worker"],
            registry=registry,
        )
        self.generators = Info(
            "miner_worker_generators",
            "The generators that a worker holds, as it said when it was last ready.",
            ["worker"],
            registry=registry,
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
        self.short = counter(
            "miner_out_of_memory",
            "Stages that ran out of memory, by whether they then went with less.",
            ["stage", "recovered"],
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

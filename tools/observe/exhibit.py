"""A page of metrics that moves by itself, for what this machine may not have.

A miner on the embedded preset has no GPU, no chain, no validators to ask and no rollback, so its
page lacks those series. This one has them all: the miner's own instruments, moved by hand. It
proves that names and labels fit the boards, and nothing about how the daemon fills them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from prometheus_client import start_http_server

from miner.executor import WorkerHealth
from miner.gpu.telemetry import GpuReading
from miner.job import MAIN
from miner.metrics import Metrics
from miner.network.chain_reading import Standing

GIB = 1024**3
VALIDATOR = "5E7eSeRr2aHzCV7SkY4a2Pi5NXHrU4anZz3phEQgn4HCen2B"
GENERATORS = ("triposr", "dreamgaussian")
IDENTITIES = (MAIN, "second")
"""The last of them does not serve while the miner is rolled back."""


class Exhibit:
    """The metrics of a large miner that is busy, and now and then in trouble.

    Attributes:
        address: "host:port" of its page.
    """

    def __init__(self, address: str, metrics: Metrics) -> None:
        self.address = address
        self._metrics = metrics
        self._rolled_back = cycle((False, True))

    def move(self) -> None:
        """One more step of everything."""
        metrics, away = self._metrics, next(self._rolled_back)
        self._devices()
        for number, identity in enumerate(IDENTITIES):
            self._work(identity, GENERATORS[away])
            self._subnet(identity, number, serves=not (away and identity == IDENTITIES[-1]))
        self._doors()
        metrics.ready(True)
        metrics.generator_active(GENERATORS[away])
        metrics.rollback_state("open" if away else "closed", ("smaller_chunk",) if away else ())
        metrics.rollback_changed("open" if away else "closed", "out_of_memory")
        metrics.rollback_job("out_of_memory")
        metrics.rollback_lasts(60.0 if away else 0.0)
        metrics.rollback_lasted(60.0)
        metrics.rollback_first_result(2.5)
        metrics.limits(64, 30.0, {"text_to_image": 8.0, "dreamgaussian": 20.0})
        metrics.disk(500 * GIB, 1000 * GIB)
        metrics.log_suppressed("http_malformed", 3)

    def _devices(self) -> None:
        memory = {"resident": 4 * GIB, "gpu_allocated": 30 * GIB, "gpu_reserved": 34 * GIB}
        memory |= {"gpu_peak": 33 * GIB, "gpu_planned": 40 * GIB, "gpu_estimated": 32 * GIB}
        memory |= {"gpu_used": 38 * GIB, "gpu_total": 80 * GIB}
        self._metrics.worker(
            WorkerHealth("0", "busy", heartbeat_age=0.5, memory=memory, load_seconds={"flux": 9.0})
        )
        self._metrics.gpu(GpuReading(0, "GPU-0", "one", 38 * GIB, 80 * GIB, 0.9, 61.0, 410.0))

    def _work(self, identity: str, generator: str) -> None:
        metrics = self._metrics
        metrics.job_accepted(identity, "pull")
        metrics.job_refused(identity, "queue_full")
        metrics.job_waited(0.4)
        metrics.job_finished(identity, "pull", "ok", 6.0, generator)
        for stage, seconds in (("text_to_image", 3.0), (generator, 2.0), ("encode", 0.2)):
            metrics.stage(stage, generator, seconds)
        metrics.asset(generator, 4_000_000, 90_000)
        metrics.self_checked(0.72, True, 2)
        metrics.queue(3, 1)

    def _subnet(self, identity: str, number: int, serves: bool) -> None:
        ours = self._metrics.of(identity)
        for outcome in ("task", "nothing", "cooldown"):
            ours.pulled(outcome)
        ours.submitted("accepted")
        ours.judged(0.74)
        ours.gateway_call("get_tasks", "nothing")
        ours.chain_synced("ok", 3.0)
        ours.peers(256, 120.0)
        ours.standing(Standing(True, 5_000_000, 256, 17 + number, 12 + number, 0.02, 1.5, 900.0, 0))
        readings = {"cooldown": 30.0, "average": 0.72, "rating": 1510.0, "reward": 0.8}
        ours.validator(VALIDATOR, readings)
        ours.rejected("not_permitted")
        ours.now(serves, waiting=3)
        if not serves:
            ours.failed()

    def _doors(self) -> None:
        metrics = self._metrics
        metrics.request("axon", "/Generate", 200, 6.1)
        metrics.connection_refused("axon", "address")
        metrics.malformed("axon", "BadStatusLine")
        metrics.connections("axon", 4)


@contextmanager
def exhibit() -> Iterator[Exhibit]:
    """One on a free port, until the block ends."""
    metrics = Metrics()
    server, thread = start_http_server(0, "127.0.0.1", registry=metrics.registry)
    try:
        yield Exhibit(f"127.0.0.1:{server.server_port}", metrics)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

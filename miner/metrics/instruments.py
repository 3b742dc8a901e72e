"""Every Prometheus instrument of the daemon, on a registry of its own.

Names carry their unit and one prefix; what they mean stands beside them. Label values are bounded:
a label takes its first ``MAX_VALUES`` values and then only "other", so that no caller from outside
can make the page grow. Prompts, job ids and addresses are never labels.

Every method is cheap, may be called from any thread, and never raises. The page itself is served
by ``network/health.py``; the workers have no registry, their readings come over their channels.
"""

from __future__ import annotations

from prometheus_client import ProcessCollector, disable_created_metrics

from miner.metrics.jobs import JobMetrics
from miner.metrics.part import total_of
from miner.metrics.plan import PlanMetrics
from miner.metrics.rollback import RollbackMetrics
from miner.metrics.servers import ServerMetrics
from miner.metrics.service import ServiceMetrics
from miner.metrics.subnet import IdentityMetrics, SubnetMetrics
from miner.metrics.workers import WorkerMetrics


class Metrics(
    JobMetrics,
    ServerMetrics,
    WorkerMetrics,
    PlanMetrics,
    RollbackMetrics,
    ServiceMetrics,
    SubnetMetrics,
):
    """All instruments. One for the process; the page is made of ``registry``."""

    def __init__(self) -> None:
        # Else each counter and histogram has one more series, that nothing here reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        super().__init__()
        ProcessCollector(registry=self.registry)

    def of(self, identity: str) -> IdentityMetrics:
        """What one identity counts."""
        return IdentityMetrics(self._bound("identity", identity), self._subnet, self._bound, self)

    def totals(self) -> dict[str, float]:
        """The counters of jobs and requests, summed over their labels, for the status page."""
        counters = {
            "jobs_accepted": self._jobs.accepted,
            "jobs_refused": self._jobs.refused,
            "jobs_joined": self._jobs.joined,
            "jobs_finished": self._jobs.finished,
            "requests": self._http.requests,
            "requests_rejected": self._subnet.rejected,
            "requests_malformed": self._http.malformed,
            "worker_restarts": self._workers.restarts,
        }
        return {name: total_of(counter) for name, counter in counters.items()}

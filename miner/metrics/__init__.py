"""Every Prometheus instrument of the daemon, by part; ``Metrics`` is all of them together."""

from miner.metrics.instruments import Metrics
from miner.metrics.jobs import JOB_BUCKETS, STAGE_BUCKETS
from miner.metrics.part import MAX_VALUES, SCORE_BUCKETS
from miner.metrics.rollback import BREAKER_STATES
from miner.metrics.servers import REQUEST_BUCKETS
from miner.metrics.subnet import VALIDATOR_READINGS, IdentityMetrics
from miner.metrics.workers import WORKER_MEMORY, WORKER_STATES

__all__ = [
    "BREAKER_STATES",
    "JOB_BUCKETS",
    "MAX_VALUES",
    "REQUEST_BUCKETS",
    "SCORE_BUCKETS",
    "STAGE_BUCKETS",
    "VALIDATOR_READINGS",
    "WORKER_MEMORY",
    "WORKER_STATES",
    "IdentityMetrics",
    "Metrics",
]

"""The status of the daemon as one JSON document: for ``/status``, ``miner ctl`` and people.

Bounded: of a long queue only the first jobs are listed. It holds no prompts and no secrets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from miner.executor import WorkerHealth
from miner.network.chain_reading import ChainState
from miner.network.replies import finite
from miner.network.view import DaemonView, IdentityView, QueueView, why_not_ready

MAX_JOBS = 100


def status(view: DaemonView, now: float) -> dict[str, Any]:
    """Everything in one document; durations in seconds, sizes in bytes.

    "hotkey", "peers" and "chain" are the first identity's; "identities" has those of all.

    Args:
        view: the daemon.
        now: ``time.monotonic()`` seconds.
    """
    reasons, first = why_not_ready(view), view.identities[0]
    return {
        "version": view.version,
        "preset": view.preset,
        "device": view.device,
        "hotkey": first.hotkey,
        "uptime_seconds": round(max(0.0, now - view.started_at), 3),
        "ready": not reasons,
        "reasons": list(reasons),
        "addresses": dict(view.addresses),
        "generator": view.generator,
        "rollback": view.rollback,
        "queue": _queue(view.queue),
        "workers": [_worker(worker) for worker in view.executor.health().workers],
        "journal": _journal(view),
        "peers": _peers(first, now),
        "chain": _chain(first.chain),
        "identities": [_identity(one, now) for one in view.identities],
        "gateways": [dict(line) for line in view.gateways()],
        "counters": view.metrics.totals(),
    }


def _queue(queue: QueueView) -> dict[str, Any]:
    state = queue.snapshot()
    return {
        "accepting": state.accepting,
        "depth": state.depth,
        "in_flight": state.in_flight,
        "service_seconds": finite(state.service_seconds),
        "oldest_seconds": finite(state.oldest_seconds),
        "jobs": [
            {"id": job.id, "state": job.state, "stage": job.stage, "steps": job.steps}
            for job in state.jobs[:MAX_JOBS]
        ],
    }


def _worker(worker: WorkerHealth) -> dict[str, Any]:
    return {
        "name": worker.name,
        "state": worker.state,
        "pid": worker.pid,
        "device": worker.device,
        "node": worker.node,
        "generators": list(worker.generators),
        "restarts": worker.restarts,
        "heartbeat_age_seconds": finite(worker.heartbeat_age),
        "job": worker.job_id,
        "memory_bytes": dict(worker.memory),
        "load_seconds": {k: finite(v) for k, v in worker.load_seconds.items()},
        "last_error": worker.last_error,
        "plan": dict(worker.plan),
    }


def _journal(view: DaemonView) -> dict[str, Any]:
    stats = view.journal.stats
    return {
        "failed": view.journal.failed,
        "file_bytes": stats.file_bytes,
        "jobs": stats.jobs,
        "unfinished": stats.unfinished,
        "results": stats.results,
        "result_bytes": stats.result_bytes,
    }


def _identity(identity: IdentityView, now: float) -> dict[str, Any]:
    reasons = list(identity.reasons())
    return {
        "name": identity.name,
        "hotkey": identity.hotkey,
        "ready": not reasons,
        "reasons": reasons,
        "waiting": identity.waiting,
        "peers": _peers(identity, now),
        "chain": _chain(identity.chain),
    }


def _peers(identity: IdentityView, now: float) -> dict[str, Any] | None:
    peers = identity.peers
    if peers is None:
        return None
    return {"count": len(peers.peers), "age_seconds": finite(peers.age_seconds(now))}


def _chain(state: ChainState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "network": state.network,
        "netuid": state.netuid,
        "failures": state.failures,
        "last_error": state.last_error,
        "standing": None if state.standing is None else asdict(state.standing),
    }

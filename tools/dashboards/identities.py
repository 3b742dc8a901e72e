"""Row of board Overview: each of our hotkeys, whether it serves, what it does, how it stands."""

from __future__ import annotations

from tools.dashboards.pieces import (
    BY_IDENTITY,
    COUNT,
    GREEN,
    OURS,
    PER_SECOND,
    RATIO,
    RED,
    SECONDS,
    WORD,
    YELLOW,
    Panel,
    Query,
    Row,
)
from tools.dashboards.tables import Column

RATE = "$__rate_interval"
STATES = {"1": ("ready", GREEN), "0": ("not ready", RED)}


def _each(expr: str, column: Column) -> Query:
    """A column: one value for each identity."""
    return Query(f"sum by (instance, identity) ({expr})", column=column)


def _rate(counter: str) -> str:
    return f"sum by (instance, identity) (rate({counter}[{RATE}]))"


IDENTITIES = Row(
    "Identities",
    [
        Panel(
            "How each is",
            "A line for each hotkey; rank and incentive are empty where no chain is watched.",
            COUNT,
            [
                _each(f"miner_identity_ready{{{OURS}}}", Column("State", WORD, words=STATES)),
                _each(f"miner_identity_queue_depth{{{OURS}}}", Column("Waiting", COUNT)),
                _each(
                    f"60 * rate(miner_jobs_accepted_total{{{OURS}}}[5m])",
                    Column("Accepted a minute", COUNT),
                ),
                _each(
                    f'60 * rate(miner_jobs_finished_total{{{OURS}, code="ok"}}[5m])',
                    Column("Splats a minute", COUNT),
                ),
                _each(
                    f"increase(miner_identity_failures_total{{{OURS}}}[1h])",
                    Column("Broke in an hour", COUNT, ((0, GREEN), (1, YELLOW), (3, RED))),
                ),
                _each(
                    f"miner_peers_age_seconds{{{OURS}}}",
                    Column("Peers read", SECONDS, ((0, GREEN), (1800, YELLOW), (3600, RED))),
                ),
                _each(f"miner_uid{{{OURS}}}", Column("Uid", WORD)),
                _each(f"miner_rank{{{OURS}}}", Column("Rank", WORD)),
                _each(f"miner_incentive_ratio{{{OURS}}}", Column("Incentive", RATIO)),
            ],
            kind="table",
            width=24,
            height=6,
            labels=("instance", "identity"),
        ),
        Panel(
            "Serving",
            "Whether each takes new work; the daemon is ready while one of them does.",
            WORD,
            [Query(f"miner_identity_ready{{{OURS}}}", BY_IDENTITY)],
            kind="timeline",
            steps=((0, RED), (1, GREEN)),
            words=STATES,
            height=6,
        ),
        Panel(
            "Jobs of each",
            "Accepted, and ended with a splat; where all have work, time is shared by their share.",
            PER_SECOND,
            [
                Query(_rate(f"miner_jobs_accepted_total{{{OURS}}}"), f"accepted: {BY_IDENTITY}"),
                Query(
                    _rate(f'miner_jobs_finished_total{{{OURS}, code="ok"}}'),
                    f"splats: {BY_IDENTITY}",
                ),
            ],
            height=6,
        ),
        Panel(
            "Jobs waiting",
            "Of each identity; it has places of its own in the queue.",
            COUNT,
            [Query(f"miner_identity_queue_depth{{{OURS}}}", BY_IDENTITY)],
            kind="stacked",
            height=6,
        ),
    ],
)

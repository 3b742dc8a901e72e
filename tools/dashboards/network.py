"""Board Network: who asks, who is turned away, how validators judge us, how we stand."""

from __future__ import annotations

from tools.dashboards.board import Board
from tools.dashboards.pieces import (
    BY_IDENTITY,
    COUNT,
    GREEN,
    HERE,
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

RATE = "$__rate_interval"
VALIDATOR = "{{validator}} {{identity}}"


def number(title: str, description: str, unit: str, expr: str, **more: object) -> Panel:
    """A panel of one number for each identity."""
    return Panel(
        title,
        description,
        unit,
        [Query(expr, BY_IDENTITY)],
        kind="stat",
        width=4,
        height=4,
        **more,  # type: ignore[arg-type]
    )


STANDING = Row(
    "Our standing",
    [
        number(
            "Registered",
            "Whether the hotkey has a place in the subnet; without a chain it is not known.",
            WORD,
            f"miner_registered{{{OURS}}} and on (job, instance, identity) miner_chain_block > 0 "
            f"or 0 * miner_identity_ready{{{OURS}}} - 1",
            steps=((-1, YELLOW), (0, RED), (1, GREEN)),
            words={"1": ("yes", GREEN), "0": ("no", RED), "-1": ("no chain", YELLOW)},
        ),
        number(
            "Rank",
            "By incentive, 1 for the highest; -1 without a place.",
            WORD,
            f"miner_rank{{{OURS}}}",
            steps=((-1, YELLOW), (1, GREEN), (128, YELLOW), (220, RED)),
        ),
        number(
            "Incentive",
            "Our share of the subnet's incentive.",
            RATIO,
            f"miner_incentive_ratio{{{OURS}}}",
        ),
        number("Stake", "Staked to our hotkey, in alpha.", COUNT, f"miner_stake_alpha{{{OURS}}}"),
        number(
            "Immune",
            "Blocks of 12 s until a newcomer may take our place.",
            COUNT,
            f"miner_immunity_blocks{{{OURS}}}",
            steps=((0, YELLOW), (1, GREEN)),
        ),
        number(
            "Age of the metagraph",
            "Since the snapshot of peers was taken; too old a one is not used.",
            SECONDS,
            f"miner_peers_age_seconds{{{OURS}}}",
            steps=((0, GREEN), (1800, YELLOW), (3600, RED)),
        ),
    ],
)

VALIDATORS = Row(
    "Validators we ask",
    [
        Panel(
            "Asked for tasks",
            "What validators answer when they are asked for a task.",
            PER_SECOND,
            [Query(f"sum by (outcome) (rate(miner_pulls_total{{{OURS}}}[{RATE}]))", "{{outcome}}")],
            kind="stacked",
        ),
        Panel(
            "Results brought",
            "What validators say of results.",
            PER_SECOND,
            [
                Query(
                    f"sum by (outcome) (rate(miner_submissions_total{{{OURS}}}[{RATE}]))",
                    "{{outcome}}",
                )
            ],
            kind="stacked",
        ),
        Panel(
            "Rejected",
            "Share of the judged results that were rejected in the last hour.",
            RATIO,
            [
                Query(
                    f"instance_identity:miner_submissions_rejected:ratio_rate1h{{{OURS}}}",
                    BY_IDENTITY,
                )
            ],
            steps=((0, GREEN), (0.1, YELLOW), (0.25, RED)),
            high=1,
        ),
        Panel(
            "Scores of results",
            "As validators gave them, result by result; 0.6 is needed.",
            RATIO,
            [Query(f"sum by (le) (increase(miner_submission_score_bucket{{{OURS}}}[{RATE}]))")],
            kind="heatmap",
        ),
        Panel(
            "Average score",
            "Each validator's smoothed score of our results.",
            RATIO,
            [Query(f"miner_validator_average_score{{{OURS}}}", VALIDATOR)],
            steps=((0, RED), (0.6, YELLOW), (0.7, GREEN)),
            high=1,
        ),
        Panel(
            "Rating in duels",
            "At each validator; a newcomer has 1500.",
            COUNT,
            [Query(f"miner_validator_duel_rating{{{OURS}}}", VALIDATOR)],
            steps=((0, YELLOW), (1500, GREEN)),
            low=None,
        ),
        Panel(
            "Cooldowns",
            "Until each validator may be asked again.",
            SECONDS,
            [Query(f"miner_validator_cooldown_seconds{{{OURS}}}", VALIDATOR)],
            steps=((0, GREEN), (600, YELLOW)),
        ),
        Panel(
            "Reward",
            "What each validator makes our weight of.",
            COUNT,
            [Query(f"miner_validator_reward{{{OURS}}}", VALIDATOR)],
        ),
        Panel(
            "Gateways",
            "Calls to gateways, by what came of them.",
            PER_SECOND,
            [
                Query(
                    f"sum by (call, outcome) (rate(miner_gateway_calls_total{{{OURS}}}[{RATE}]))",
                    "{{call}}: {{outcome}}",
                )
            ],
        ),
    ],
)

DOORS = Row(
    "Who calls us",
    [
        Panel(
            "Requests",
            "Answered, by server and status.",
            PER_SECOND,
            [
                Query(
                    f"sum by (server, status) (rate(miner_http_requests_total{{{HERE}}}[{RATE}]))",
                    "{{server}} {{status}}",
                )
            ],
            kind="stacked",
        ),
        Panel(
            "Turned away",
            "Requests that admission refused, by reason.",
            PER_SECOND,
            [
                Query(
                    "sum by (code) "
                    f"(instance_identity_code:miner_requests_rejected:rate5m{{{OURS}}})",
                    "{{code}}",
                )
            ],
            kind="stacked",
        ),
        Panel(
            "Connections",
            "Open at each server.",
            COUNT,
            [Query(f"miner_open_connections{{{HERE}}}", "{{server}} {{instance}}")],
            steps=((0, GREEN), (200, YELLOW)),
        ),
        Panel(
            "Closed or not HTTP",
            "Connections closed for a limit, and requests that could not be read.",
            PER_SECOND,
            [
                Query(
                    "sum by (server, reason) "
                    f"(rate(miner_connections_refused_total{{{HERE}}}[{RATE}]))",
                    "{{server}}: {{reason}}",
                ),
                Query(
                    "sum by (server, kind) "
                    f"(rate(miner_malformed_requests_total{{{HERE}}}[{RATE}]))",
                    "{{server}}: {{kind}}",
                ),
            ],
        ),
    ],
)

CHAIN = Row(
    "The chain",
    [
        Panel(
            "Readings of the subnet",
            "Attempts, by how they ended.",
            PER_SECOND,
            [
                Query(
                    f"sum by (outcome) (rate(miner_chain_syncs_total{{{OURS}}}[{RATE}]))",
                    "{{outcome}}",
                )
            ],
        ),
        Panel(
            "Peers",
            "Hotkeys in the snapshot of the subnet.",
            COUNT,
            [Query(f"miner_peers{{{OURS}}}", BY_IDENTITY)],
            steps=((0, RED), (1, GREEN)),
        ),
        Panel(
            "Emission",
            "What the last tempo brought, in alpha.",
            COUNT,
            [Query(f"miner_emission_alpha{{{OURS}}}", BY_IDENTITY)],
        ),
    ],
)

NETWORK = Board(
    "splat-miner-network",
    "Miner: network",
    "Who asks, who is turned away, how validators judge us, how we stand in the subnet.",
    [STANDING, VALIDATORS, DOORS, CHAIN],
    identities=True,
)

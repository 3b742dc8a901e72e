"""Board Rollback: which generator makes the splats, since when, why, and how the two compare."""

from __future__ import annotations

from tools.dashboards.board import Board
from tools.dashboards.pieces import (
    BLUE,
    COUNT,
    GREEN,
    HERE,
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
STATES = ("closed", "open", "half_open", "pinned")


def _state() -> str:
    """One series for each miner: the index of the state its breaker is in."""
    terms = (
        f'{index} * sum by (instance) (miner_rollback_state{{{HERE}, state="{state}"}})'
        for index, state in enumerate(STATES)
    )
    return " + ".join(terms)


def _share(metric: str, share: float) -> str:
    return (
        f"histogram_quantile({share}, sum by (generator, le) (rate({metric}_bucket{{{HERE}}}[5m])))"
    )


TIMELINE = Row(
    "Since when",
    [
        Panel(
            "State",
            "closed: the primary works. open: rolled back. half_open: one job tries the primary. "
            "pinned: held by a person or the settings.",
            WORD,
            [Query(_state())],
            kind="timeline",
            steps=((0, GREEN), (1, RED), (2, YELLOW), (3, BLUE)),
            words={
                "0": ("closed", GREEN),
                "1": ("open", RED),
                "2": ("half open", YELLOW),
                "3": ("pinned", BLUE),
            },
            width=12,
            height=6,
        ),
        Panel(
            "Generator",
            "The one that new jobs go to.",
            WORD,
            [Query(f"miner_generator_active{{{HERE}}}", "{{generator}} {{instance}}")],
            kind="timeline",
            steps=((0, YELLOW), (1, GREEN)),
            words={"0": ("waits", YELLOW), "1": ("in use", GREEN)},
            width=12,
            height=6,
        ),
        Panel(
            "Smaller steps",
            "Changes that were tried before another generator, while they are in force.",
            WORD,
            [Query(f"miner_rollback_step{{{HERE}}}", "{{step}} {{instance}}")],
            kind="timeline",
            steps=((0, GREEN), (1, YELLOW)),
            words={"0": ("off", GREEN), "1": ("in force", YELLOW)},
            width=12,
            height=6,
        ),
        Panel(
            "Rolled back for",
            "So long new jobs have gone to the rollback generator; 0 while they do not.",
            SECONDS,
            [Query(f"miner_rollback_active_seconds{{{HERE}}}")],
            kind="stat",
            steps=((0, GREEN), (1, YELLOW), (300, RED)),
            width=6,
            height=6,
        ),
        Panel(
            "First result after it",
            "From the last rollback to the first splat of the other generator.",
            SECONDS,
            [Query(f"miner_rollback_first_result_seconds{{{HERE}}}")],
            kind="stat",
            steps=((0, GREEN), (5, YELLOW), (30, RED)),
            width=6,
            height=6,
        ),
    ],
)

CAUSES = Row(
    "Why",
    [
        Panel(
            "Decisions",
            "Of the breaker, by the state it went to and the cause, in the last hour.",
            COUNT,
            [
                Query(
                    "sum by (instance, state, cause) "
                    f"(increase(miner_rollback_changes_total{{{HERE}}}[1h]))",
                    "{{state}}: {{cause}}",
                )
            ],
            kind="stacked",
        ),
        Panel(
            "Single jobs",
            "Made by another generator than planned, by cause.",
            PER_SECOND,
            [
                Query(
                    f"sum by (cause) (rate(miner_rollback_jobs_total{{{HERE}}}[{RATE}]))",
                    "{{cause}}",
                )
            ],
            kind="stacked",
        ),
        Panel(
            "How long rollbacks lasted",
            "Each one that has ended.",
            SECONDS,
            [
                Query(
                    "sum by (le) "
                    f"(increase(miner_rollback_duration_seconds_bucket{{{HERE}}}[{RATE}]))"
                )
            ],
            kind="heatmap",
        ),
    ],
)

SIDE_BY_SIDE = Row(
    "The generators side by side",
    [
        Panel(
            "Splats",
            "Made by each generator.",
            PER_SECOND,
            [
                Query(
                    "sum by (generator) (rate(miner_job_duration_seconds_count"
                    f'{{{HERE}, outcome="ok"}}[{RATE}]))',
                    "{{generator}}",
                )
            ],
        ),
        Panel(
            "Duration",
            "Median and 95 of 100 jobs, from acceptance to outcome.",
            SECONDS,
            [
                Query(_share("miner_job_duration_seconds", 0.5), "median {{generator}}"),
                Query(_share("miner_job_duration_seconds", 0.95), "p95 {{generator}}"),
            ],
            steps=((0, GREEN), (30, RED)),
        ),
        Panel(
            "Gaussians",
            "Median of each generator's splats.",
            COUNT,
            [Query(_share("miner_asset_gaussians", 0.5), "{{generator}}")],
            steps=((0, GREEN), (1e6, YELLOW)),
        ),
        Panel(
            "Jobs succeeding",
            "Share of each generator's jobs that ended with a splat, over 5 minutes; "
            "none is for jobs that ended before one began.",
            RATIO,
            [
                Query(
                    "sum by (generator) (rate(miner_job_duration_seconds_count"
                    f'{{{HERE}, outcome="ok"}}[5m])) / (sum by (generator) '
                    f"(rate(miner_job_duration_seconds_count{{{HERE}}}[5m])) > 0)",
                    "{{generator}}",
                )
            ],
            steps=((0, RED), (0.9, YELLOW), (0.98, GREEN)),
            high=1,
        ),
    ],
)

ROLLBACK = Board(
    "splat-miner-rollback",
    "Miner: rollback",
    "Which generator makes the splats, since when, why, and how the two compare.",
    [TIMELINE, CAUSES, SIDE_BY_SIDE],
)

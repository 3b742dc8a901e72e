"""Board Pipeline: where the time of a job goes, what comes out, how good it is."""

from __future__ import annotations

from tools.dashboards.board import Board
from tools.dashboards.pieces import (
    BYTES,
    COUNT,
    GREEN,
    HERE,
    PER_SECOND,
    RATIO,
    RED,
    SECONDS,
    YELLOW,
    Panel,
    Query,
    Row,
)

RATE = "$__rate_interval"
STAGES = ("text_to_image", "background", "reconstruct", "surface", "encode")
"""Those of every job that TripoSR does; other generators' stages are in the medians."""


def spread(metric: str, more: str = "") -> str:
    """How many observations fell into each bucket, for a heatmap."""
    return f"sum by (le) (increase({metric}_bucket{{{HERE}{more}}}[{RATE}]))"


def quantile(share: float, metric: str, by: str) -> str:
    """A quantile over 5 minutes for each value of a label."""
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{HERE}}}[5m])))"


def stage_heatmap(stage: str) -> Panel:
    """The times of one stage."""
    return Panel(
        f"Stage {stage}",
        f"How long {stage} took, job by job; darker is more jobs.",
        SECONDS,
        [Query(spread("miner_stage_duration_seconds", f', stage="{stage}"'))],
        kind="heatmap",
    )


MEDIANS = Row(
    "Where the time goes",
    [
        Panel(
            "Stages, median",
            "The median of each stage over 5 minutes, one above the other.",
            SECONDS,
            [
                Query(
                    f"instance_stage_generator:miner_stage_duration_seconds:p50_5m{{{HERE}}}",
                    "{{stage}} ({{generator}})",
                )
            ],
            kind="stacked",
            width=12,
            height=9,
            steps=((0, GREEN), (30, RED)),
        ),
        Panel(
            "Stages against their budgets",
            "The median of a stage as a share of metrics.stage_budget_seconds; above 1 it is over.",
            RATIO,
            [
                Query(
                    "instance_stage_generator:miner_stage_duration_seconds:p50_5m"
                    f"{{{HERE}}} / on (job, instance, stage) group_left "
                    f"miner_stage_budget_seconds{{{HERE}}}",
                    "{{stage}} ({{generator}})",
                )
            ],
            width=12,
            height=9,
            steps=((0, GREEN), (0.8, YELLOW), (1, RED)),
        ),
    ],
)

TIMES = Row(
    "Every stage",
    [
        Panel(
            "Whole jobs",
            "From acceptance to the splat, job by job.",
            SECONDS,
            [Query(spread("miner_job_duration_seconds", ', outcome="ok"'))],
            kind="heatmap",
        ),
        *(stage_heatmap(stage) for stage in STAGES),
    ],
)

RESULTS = Row(
    "What comes out",
    [
        Panel(
            "Size of splats",
            "Median and 95 of 100, as they were delivered.",
            BYTES,
            [
                Query(quantile(0.5, "miner_asset_size_bytes", "generator"), "median {{generator}}"),
                Query(quantile(0.95, "miner_asset_size_bytes", "generator"), "p95 {{generator}}"),
            ],
            steps=((0, GREEN), (64 * 1024**2, YELLOW)),
        ),
        Panel(
            "Gaussians",
            "Median and 95 of 100 in each splat.",
            COUNT,
            [
                Query(quantile(0.5, "miner_asset_gaussians", "generator"), "median {{generator}}"),
                Query(quantile(0.95, "miner_asset_gaussians", "generator"), "p95 {{generator}}"),
            ],
            steps=((0, GREEN), (1e6, YELLOW)),
        ),
        Panel(
            "Candidates",
            "Made for the results that were checked.",
            PER_SECOND,
            [
                Query(
                    f"sum by (instance) (rate(miner_candidates_total{{{HERE}}}[{RATE}]))",
                    "candidates {{instance}}",
                ),
                Query(
                    f"sum by (instance) (rate(miner_self_check_score_count{{{HERE}}}[{RATE}]))",
                    "results {{instance}}",
                ),
            ],
        ),
        Panel(
            "Self-check score",
            "What the self-check expects a validator to say, result by result.",
            RATIO,
            [Query(spread("miner_self_check_score"))],
            kind="heatmap",
            width=12,
        ),
        Panel(
            "Results under the threshold",
            "Share of the checked results that a validator would refuse, over 30 minutes.",
            RATIO,
            [Query(f"instance:miner_self_checks_failed:ratio_rate30m{{{HERE}}}")],
            steps=((0, GREEN), (0.1, YELLOW), (0.25, RED)),
            width=12,
            high=1,
        ),
    ],
)

PIPELINE = Board(
    "splat-miner-pipeline",
    "Miner: pipeline",
    "Where the time of a job goes, what comes out, and how good it is.",
    [MEDIANS, TIMES, RESULTS],
)

"""Board Overview: is it well, how much does it do, how fast, on what."""

from __future__ import annotations

from tools.dashboards.board import Board
from tools.dashboards.identities import IDENTITIES
from tools.dashboards.pieces import (
    BLUE,
    BYTES,
    COUNT,
    GPU,
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
DURATION = "instance:miner_job_duration_seconds"

NOW = Row(
    "Now",
    [
        Panel(
            "State",
            "Whether the daemon takes new work; down while Prometheus does not reach it.",
            WORD,
            [Query(f"miner_ready{{{HERE}}} or up{{{HERE}}} - 1")],
            kind="stat",
            steps=((-1, RED), (0, YELLOW), (1, GREEN)),
            words={"1": ("ready", GREEN), "0": ("not ready", YELLOW), "-1": ("down", RED)},
            width=4,
            height=4,
        ),
        Panel(
            "Generator",
            "What makes the splats of new jobs.",
            WORD,
            [Query(f"miner_generator_active{{{HERE}}} == 1", "{{generator}}")],
            kind="stat",
            words={"1": ("in use", GREEN)},
            width=4,
            height=4,
            named=True,
        ),
        Panel(
            "Jobs succeeding",
            "Of the jobs that ended in 5 minutes, those with a splat; cancelled ones do not count.",
            RATIO,
            [Query(f"instance:miner_jobs_succeeded:ratio_rate5m{{{HERE}}}")],
            kind="stat",
            steps=((0, RED), (0.9, YELLOW), (0.98, GREEN)),
            width=4,
            height=4,
            high=1,
        ),
        Panel(
            "Splats a minute",
            "Jobs that ended with a splat, over 5 minutes.",
            COUNT,
            [
                Query(
                    "60 * sum by (instance) "
                    f'(instance_code:miner_jobs_finished:rate5m{{{HERE}, code="ok"}})'
                )
            ],
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Slowest twentieth",
            "95 of 100 jobs took less, from acceptance to outcome; the default objective is 30 s.",
            SECONDS,
            [Query(f"{DURATION}:p95_5m{{{HERE}}}")],
            kind="stat",
            steps=((0, GREEN), (20, YELLOW), (30, RED)),
            width=4,
            height=4,
        ),
        Panel(
            "Running for",
            "Since the daemon's process began.",
            SECONDS,
            [Query(f"time() - process_start_time_seconds{{{HERE}}}")],
            kind="stat",
            steps=((0, YELLOW), (600, GREEN)),
            width=4,
            height=4,
        ),
    ],
)

JOBS = Row(
    "Jobs",
    [
        Panel(
            "Outcomes",
            "Jobs of the identities chosen that ended, by how: ok, or the error's code.",
            PER_SECOND,
            [
                Query(
                    f"sum by (code) (rate(miner_jobs_finished_total{{{OURS}}}[{RATE}]))",
                    "{{code}}",
                )
            ],
            kind="stacked",
        ),
        Panel(
            "Duration of jobs",
            "From acceptance to the splat: median, 95 and 99 of 100; dashed above the objective.",
            SECONDS,
            [
                Query(f"{DURATION}:p50_5m{{{HERE}}}", "median {{instance}}"),
                Query(f"{DURATION}:p95_5m{{{HERE}}}", "p95 {{instance}}"),
                Query(f"{DURATION}:p99_5m{{{HERE}}}", "p99 {{instance}}"),
                Query(f"miner_job_objective_seconds{{{HERE}}} > 0", "objective {{instance}}"),
            ],
            steps=((0, GREEN), (30, RED)),
        ),
        Panel(
            "Work accepted and refused",
            "Jobs of the identities chosen by the door they came through; refused ones by reason.",
            PER_SECOND,
            [
                Query(
                    f"sum by (intake) (rate(miner_jobs_accepted_total{{{OURS}}}[{RATE}]))",
                    "accepted: {{intake}}",
                ),
                Query(
                    f"sum by (code) (rate(miner_jobs_refused_total{{{OURS}}}[{RATE}]))",
                    "refused: {{code}}",
                ),
            ],
        ),
        Panel(
            "Queue",
            "Jobs that wait and jobs being done; beyond the limit new ones are refused.",
            COUNT,
            [
                Query(f"miner_queue_depth{{{HERE}}}", "waiting {{instance}}"),
                Query(f"miner_jobs_in_flight{{{HERE}}}", "being done {{instance}}"),
                Query(f"miner_queue_limit{{{HERE}}}", "limit {{instance}}"),
            ],
            steps=((0, GREEN), (48, YELLOW), (64, RED)),
        ),
        Panel(
            "Waiting",
            "95 of 100 jobs began sooner after they were accepted.",
            SECONDS,
            [Query(f"instance:miner_job_wait_seconds:p95_5m{{{HERE}}}")],
            steps=((0, GREEN), (10, YELLOW), (20, RED)),
        ),
        Panel(
            "Workers",
            "What each worker does.",
            WORD,
            [
                Query(
                    "sum by (instance, worker) "
                    f'(miner_worker_state{{{HERE}, state=~"ready|busy"}}) '
                    "+ sum by (instance, worker) "
                    f'(miner_worker_state{{{HERE}, state="busy"}})',
                    "{{instance}} {{worker}}",
                )
            ],
            kind="timeline",
            steps=((0, RED), (1, GREEN), (2, BLUE)),
            words={
                "0": ("not ready", RED),
                "1": ("ready", GREEN),
                "2": ("busy", BLUE),
            },
        ),
    ],
)

DEVICES = Row(
    "Devices",
    [
        Panel(
            "GPU memory",
            "In use by anybody, as a share of what there is.",
            RATIO,
            [Query(f"instance_gpu:miner_gpu_memory_used:ratio{{{GPU}}}", "{{instance}} {{gpu}}")],
            steps=((0, GREEN), (0.9, YELLOW), (0.95, RED)),
            high=1,
        ),
        Panel(
            "GPU at work",
            "Share of the time in which a kernel ran.",
            RATIO,
            [Query(f"miner_gpu_utilization_ratio{{{GPU}}}", "{{instance}} {{gpu}}")],
            steps=((0, GREEN), (1, GREEN)),
            high=1,
        ),
        Panel(
            "Memory of workers",
            "Resident memory of each worker's process, without the GPU's.",
            BYTES,
            [Query(f"miner_worker_resident_memory_bytes{{{HERE}}}", "{{instance}} {{worker}}")],
            steps=((0, GREEN), (64 * 1024**3, YELLOW)),
        ),
    ],
)

OVERVIEW = Board(
    "splat-miner-overview",
    "Miner: overview",
    "Is the miner well, how much does it do, how fast, and on what.",
    [NOW, IDENTITIES, JOBS, DEVICES],
    gpus=True,
    identities=True,
)

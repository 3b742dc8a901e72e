"""Board Host: the processes, the GPU, the journal and its disk, from the miner's own metrics.

Nothing else has to be installed for it: CPU, network and disks of the host as a whole are for a
node exporter and its own boards.
"""

from __future__ import annotations

from tools.dashboards.board import Board
from tools.dashboards.pieces import (
    BYTES,
    CELSIUS,
    COUNT,
    GPU,
    GREEN,
    HERE,
    PER_SECOND,
    RATIO,
    RED,
    SECONDS,
    WATTS,
    WORD,
    YELLOW,
    Panel,
    Query,
    Row,
)

RATE = "$__rate_interval"
GIB = 1024**3
WORKER = "{{worker}} {{instance}}"

GPUS = Row(
    "GPU",
    [
        Panel(
            "Memory in use",
            "By anybody, with what there is.",
            BYTES,
            [
                Query(f"miner_gpu_memory_used_bytes{{{GPU}}}", "used {{gpu}} {{instance}}"),
                Query(f"miner_gpu_memory_total_bytes{{{GPU}}}", "total {{gpu}} {{instance}}"),
            ],
        ),
        Panel(
            "Memory of workers",
            "Held by tensors, by the allocator, the most there was, and the plan's limit.",
            BYTES,
            [
                Query(f"miner_worker_gpu_memory_allocated_bytes{{{HERE}}}", f"tensors {WORKER}"),
                Query(f"miner_worker_gpu_memory_reserved_bytes{{{HERE}}}", f"allocator {WORKER}"),
                Query(f"miner_worker_gpu_memory_peak_bytes{{{HERE}}}", f"peak {WORKER}"),
                Query(f"miner_worker_gpu_memory_planned_bytes{{{HERE}}}", f"plan {WORKER}"),
            ],
        ),
        Panel(
            "Peak against plan",
            "The most that a worker held at once, as a share of its plan.",
            RATIO,
            [Query(f"instance_worker:miner_worker_gpu_memory_peak:ratio{{{HERE}}}", WORKER)],
            steps=((0, GREEN), (0.9, YELLOW), (0.97, RED)),
        ),
        Panel(
            "At work",
            "Share of the time in which a kernel ran.",
            RATIO,
            [Query(f"miner_gpu_utilization_ratio{{{GPU}}}", "{{gpu}} {{instance}}")],
            high=1,
        ),
        Panel(
            "Temperature",
            "Of the chip; products throttle from 85 to 90 degrees.",
            CELSIUS,
            [Query(f"miner_gpu_temperature_celsius{{{GPU}}}", "{{gpu}} {{instance}}")],
            steps=((0, GREEN), (80, YELLOW), (87, RED)),
        ),
        Panel(
            "Power",
            "Drawn by each GPU.",
            WATTS,
            [Query(f"miner_gpu_power_watts{{{GPU}}}", "{{gpu}} {{instance}}")],
        ),
    ],
)

PROCESSES = Row(
    "Processes",
    [
        Panel(
            "Processor time",
            "Of the daemon without its workers, in processors; beyond 1 the event loop is late.",
            COUNT,
            [Query(f"rate(process_cpu_seconds_total{{{HERE}}}[{RATE}])")],
            steps=((0, GREEN), (0.7, YELLOW), (0.95, RED)),
        ),
        Panel(
            "Resident memory",
            "Of the daemon and of each worker; flat over days, else something leaks.",
            BYTES,
            [
                Query(f"process_resident_memory_bytes{{{HERE}}}", "daemon {{instance}}"),
                Query(f"miner_worker_resident_memory_bytes{{{HERE}}}", WORKER),
            ],
            steps=((0, GREEN), (64 * GIB, YELLOW)),
        ),
        Panel(
            "Open files",
            "Of the daemon, as a share of its limit.",
            RATIO,
            [Query(f"process_open_fds{{{HERE}}} / process_max_fds{{{HERE}}}")],
            steps=((0, GREEN), (0.7, YELLOW), (0.9, RED)),
            high=1,
        ),
        Panel(
            "Worker restarts",
            "In the last hour, by reason; memory_growth and reload are planned.",
            COUNT,
            [
                Query(
                    "sum by (instance, worker, reason) "
                    f"(increase(miner_worker_restarts_total{{{HERE}}}[1h]))",
                    "{{reason}} {{worker}}",
                )
            ],
            kind="stacked",
            steps=((0, GREEN), (1, YELLOW), (2, RED)),
        ),
        Panel(
            "Last sign of life",
            "Of each worker; at worker.hang_seconds it is killed.",
            SECONDS,
            [Query(f"miner_worker_heartbeat_age_seconds{{{HERE}}}", WORKER)],
            steps=((0, GREEN), (5, YELLOW), (30, RED)),
        ),
        Panel(
            "Loading",
            "What each stage of loading took at the last start.",
            SECONDS,
            [Query(f"miner_worker_load_seconds{{{HERE}}}", "{{stage}} {{worker}}")],
            kind="stacked",
        ),
    ],
)

DISK = Row(
    "Journal and disk",
    [
        Panel(
            "Room on the disk",
            "Free where the state lies, and the journal's own size.",
            BYTES,
            [
                Query(f"miner_disk_free_bytes{{{HERE}}}", "free {{instance}}"),
                Query(f"miner_journal_size_bytes{{{HERE}}}", "journal {{instance}}"),
                Query(f"miner_journal_results_bytes{{{HERE}}}", "results {{instance}}"),
            ],
            steps=((0, RED), (2 * GIB, YELLOW), (10 * GIB, GREEN)),
        ),
        Panel(
            "Room left",
            "Free share of the disk under the state.",
            RATIO,
            [Query(f"instance:miner_disk_free:ratio{{{HERE}}}")],
            steps=((0, RED), (0.05, YELLOW), (0.15, GREEN)),
            high=1,
        ),
        Panel(
            "Journal",
            "Whether it can be written.",
            WORD,
            [Query(f"miner_journal_failed{{{HERE}}}")],
            kind="stat",
            steps=((0, GREEN), (1, RED)),
            words={"0": ("written", GREEN), "1": ("failing", RED)},
        ),
        Panel(
            "Commit",
            "What the last transaction took to reach the disk.",
            SECONDS,
            [Query(f"miner_journal_commit_seconds{{{HERE}}}")],
            steps=((0, GREEN), (0.1, YELLOW), (1, RED)),
        ),
        Panel(
            "Commits",
            "Transactions brought to disk.",
            PER_SECOND,
            [Query(f"rate(miner_journal_commits_total{{{HERE}}}[{RATE}])")],
        ),
        Panel(
            "Log lines held back",
            "Lines not written, to keep the log short.",
            PER_SECOND,
            [
                Query(
                    f"sum by (kind) (rate(miner_log_lines_suppressed_total{{{HERE}}}[{RATE}]))",
                    "{{kind}}",
                )
            ],
        ),
    ],
)

HOST = Board(
    "splat-miner-host",
    "Miner: host",
    "The processes, the GPU, the journal and its disk.",
    [GPUS, PROCESSES, DISK],
    gpus=True,
)

"""Settings of the daemon: what ``config/miner.toml`` may say, section by section.

Durations are seconds, sizes bytes, rates per second unless the key says otherwise. The file that
ships explains every key for operators; this one fixes types, bounds and defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from miner.settings.admission import AdmissionSettings
from miner.settings.gateway import GatewaySettings
from miner.settings.identity import SHARED, IdentitySettings, laid_over, signed
from miner.settings.listening import ApiSettings, AxonSettings, Port
from miner.settings.pull import PullSettings
from miner.settings.ray_cluster import RaySettings
from miner.settings.rollback import RollbackSettings
from miner.settings.section import Section
from miner.settings.subnet import ChainSettings, WalletSettings

MIB = 1024 * 1024

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Weight = Annotated[int, Field(ge=1, le=1000)]

STAGE_BUDGETS = {
    "text_to_image": 8.0,
    "background": 1.0,
    "reconstruct": 2.0,
    "surface": 5.0,
    "self_check": 4.0,
    "dreamgaussian": 20.0,
    "encode": 1.0,
}
"""For a job that should take 30 seconds, with room for waiting. ``dreamgaussian`` takes the place
of ``reconstruct`` and ``surface``."""

Intake = Literal["axon", "pull", "gateway", "http"]
"""A way by which work comes: validators call us ("axon"), we ask validators ("pull"), we ask the
subnet's gateways ("gateway"), or the operator's own programs use the HTTP API ("http")."""


Overlap = Literal["auto", "on", "off"]
"""Whether a worker makes the surface of one job while the next one paints."""


class MetricsSettings(Section):
    """Where Prometheus scrapes, port 0 takes any free one, and what its rules compare with.

    Attributes:
        job_objective_seconds: 95 of 100 jobs should take less, from acceptance to outcome; 0 has
            none.
        stage_budget_seconds: the share of that which a stage may take, by its name.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 9108
    job_objective_seconds: float = Field(default=30.0, ge=0, le=86_400)
    stage_budget_seconds: dict[str, Seconds] = STAGE_BUDGETS


class QueueSettings(Section):
    """What waits for the GPU.

    Attributes:
        max_depth: jobs waiting at most; those running do not count.
        deadline_margin_seconds: kept back from a caller's timeout for the way there and back.
        default_timeout_seconds: for callers that name none, and for pushed tasks.
        max_timeout_seconds: a longer timeout is taken for this.
        max_attempts: how often a job is begun when workers die under it.
        drain_seconds: how long a stop waits for what was accepted.
    """

    max_depth: int = Field(default=64, ge=1, le=100_000)
    deadline_margin_seconds: float = Field(default=1.0, ge=0, le=60)
    default_timeout_seconds: Seconds = 300.0
    max_timeout_seconds: Seconds = 600.0
    max_attempts: int = Field(default=2, ge=1, le=10)
    drain_seconds: Seconds = 120.0


class WorkerSettings(Section):
    """The processes that own the GPUs.

    Attributes:
        executor: "local" has them on this host; "ray" on the nodes of a Ray cluster, where
            ``RaySettings`` says how many there are, and ``count`` and ``gpus`` say nothing.
        count: how many; worker ``i`` is given the ``i``-th of ``gpus``.
        gpus: CUDA device indices or UUIDs, one a worker; empty leaves the choice to CUDA. Indices
            count as the driver does, and within ``CUDA_VISIBLE_DEVICES`` where that is set.
        overlap: "auto" has the surface of one job made while the next one paints, where that is
            on a GPU with the memory for both; "on" also on a CPU; "off" nowhere.
        spread: weights by generator: each worker holds one of them alone, in these proportions;
            empty has every worker hold all. Those that hold another than the one in use wait.
        start_seconds: from spawning to ready, loading and warming up.
        heartbeat_seconds: between two signs of life.
        hang_seconds: without a sign of life the worker is killed.
        job_seconds: a job that takes longer costs the worker its life.
        max_growth_bytes: of resident memory beyond what it had when ready; then it is replaced
            between two jobs.
        max_gpu_growth_bytes: likewise of what live tensors hold on the device after a job.
        restart_backoff_seconds, max_restart_backoff_seconds: the wait before a new one doubles
            with each death in a row, from one to the other.
    """

    executor: Literal["local", "ray"] = "local"
    count: int = Field(default=1, ge=1, le=64)
    gpus: tuple[str, ...] = ()
    overlap: Overlap = "auto"
    spread: dict[str, Weight] = Field(default_factory=dict)
    start_seconds: Seconds = 900.0
    heartbeat_seconds: Seconds = 1.0
    hang_seconds: Seconds = 30.0
    job_seconds: Seconds = 300.0
    max_growth_bytes: int = Field(default=4096 * MIB, ge=MIB)
    max_gpu_growth_bytes: int = Field(default=1024 * MIB, ge=MIB)
    restart_backoff_seconds: float = Field(default=0.5, ge=0, le=60)
    max_restart_backoff_seconds: float = Field(default=60.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _check(self) -> WorkerSettings:
        if self.gpus and len(self.gpus) != self.count:
            raise ValueError(f"gpus: names {len(self.gpus)} devices for {self.count} workers")
        if self.hang_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("hang_seconds: must be at least twice heartbeat_seconds")
        return self


class JournalSettings(Section):
    """What is remembered over restarts, and how long.

    Attributes:
        keep_results_seconds: a result nobody has fetched.
        keep_delivered_seconds: a result that was delivered: the reply may have been lost.
        keep_pulled_seconds: a result that a validator waits for and could not be brought yet.
        keep_jobs_seconds: the record of a finished job, without its result.
        max_result_bytes: of all results together; the oldest go first.
    """

    keep_results_seconds: float = Field(default=3600.0, gt=0)
    keep_delivered_seconds: float = Field(default=600.0, ge=0)
    keep_pulled_seconds: float = Field(default=86_400.0, gt=0)
    keep_jobs_seconds: float = Field(default=7 * 86_400.0, gt=0)
    max_result_bytes: int = Field(default=4096 * MIB, ge=MIB)


class LogSettings(Section):
    """How the daemon tells what it does; ``auto`` is text on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class DaemonSettings(Section):
    """Everything ``miner run`` needs beside the preset.

    Attributes:
        intakes: the ways by which work comes; see ``Intake``.
        state_dir: the journal, its lock and the control socket live here.
        identity: the hotkeys that are served, where they are several; see ``identities``.
    """

    intakes: Annotated[tuple[Intake, ...], Field(min_length=1)] = ("axon", "http")
    state_dir: Path
    chain: ChainSettings = ChainSettings()
    wallet: WalletSettings = WalletSettings()
    axon: AxonSettings = AxonSettings()
    api: ApiSettings = ApiSettings()
    pull: PullSettings = PullSettings()
    gateway: GatewaySettings = GatewaySettings()
    metrics: MetricsSettings = MetricsSettings()
    admission: AdmissionSettings = AdmissionSettings()
    queue: QueueSettings = QueueSettings()
    worker: WorkerSettings = WorkerSettings()
    ray: RaySettings = RaySettings()
    rollback: RollbackSettings = RollbackSettings()
    journal: JournalSettings = JournalSettings()
    log: LogSettings = LogSettings()
    identity: tuple[IdentitySettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lay_over(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "identity" in values:
            return {**values, "identity": laid_over(values, values["identity"])}
        return values

    @field_validator("identity")
    @classmethod
    def _differ(cls, identities: tuple[IdentitySettings, ...]) -> tuple[IdentitySettings, ...]:
        names = [one.name for one in identities]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two have the name {twice[0]!r}")
        return identities

    @property
    def identities(self) -> tuple[IdentitySettings, ...]:
        """Every hotkey in service, at least one; without a table, that of the sections at the top.

        Where no intake signs it is there all the same, and has no intakes.
        """
        if self.identity:
            return self.identity
        own = {key: getattr(self, key) for key in SHARED}
        return (IdentitySettings(intakes=signed(self.intakes), **own),)

    @property
    def signs(self) -> bool:
        """Whether any intake needs a hotkey."""
        return any(one.intakes for one in self.identities)

    @property
    def worker_kinds(self) -> tuple[RollbackSettings, ...]:
        """What a worker may be told to hold: all, or one generator of the spread alone."""
        return tuple(map(self.rollback.alone, self.worker.spread)) or (self.rollback,)

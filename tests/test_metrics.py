"""The instruments: named as Prometheus wants it, bounded, and never in the way."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from miner.executor import WorkerHealth
from miner.gpu.plan import Card, MemoryPlan, StagePlan
from miner.gpu.telemetry import GpuReading
from miner.job import MAIN
from miner.metrics import JOB_BUCKETS, MAX_VALUES, IdentityMetrics, Metrics
from miner.network.chain_reading import Standing


@dataclass(frozen=True)
class Stats:
    """Of a journal."""

    file_bytes: int = 100
    result_bytes: int = 50
    commits: int = 3
    commit_seconds: float = 0.002
    failed: str | None = None


PLAN = MemoryPlan(
    Card("H200", 10, 9, (9, 0), 20),
    (StagePlan("vae", "FLUX autoencoder", "bf16", "resident", 2, 4, 0.5, "fits"),),
    "flux-schnell",
    peak_bytes=4,
    limit_bytes=8,
)


def fill(metrics: Metrics) -> None:
    """Uses every instrument once."""
    metrics.job_accepted(MAIN, "api")
    metrics.job_refused(MAIN, "queue_full")
    metrics.job_joined()
    metrics.job_finished(MAIN, "api", "ok", 1.5, "triposr")
    metrics.job_finished(MAIN, "api", "worker_lost", 2.5)
    metrics.job_waited(0.2)
    metrics.stage("encode", "triposr", 0.05)
    metrics.asset("triposr", 1_000_000, 20_000)
    metrics.self_checked(0.7, True, 2)
    metrics.queue(2, 1)
    metrics.request("api", "/generate", 200, 1.6)
    metrics.connection_refused("axon", "address")
    metrics.malformed("axon", "BadStatusLine")
    metrics.connections("axon", 5)
    memory = {"resident": 1, "gpu_allocated": 2, "gpu_reserved": 3, "gpu_peak": 4}
    memory |= {"gpu_used": 5, "gpu_total": 6, "gpu_estimated": 7, "gpu_planned": 8}
    memory["gpu_outside"] = 9
    metrics.worker(
        WorkerHealth(
            *("0", "ready"),
            heartbeat_age=0.5,
            memory=memory,
            load_seconds={"flux": 3.0},
            generators=("triposr", "dreamgaussian"),
        )
    )
    metrics.worker_restarted("0", "hung")
    metrics.out_of_memory("text_to_image", recovered=True)
    metrics.generator_active("triposr")
    metrics.rollback_state("open", ("smaller_chunk",))
    metrics.rollback_changed("open", "exception")
    metrics.rollback_lasts(3.0)
    metrics.rollback_lasted(90.0)
    metrics.rollback_job("out_of_memory")
    metrics.rollback_first_result(4.5)
    metrics.gpu(GpuReading(0, "GPU-1", "H200", 10, 20, 0.5, 40.0, 300.0))
    metrics.plan(PLAN)
    metrics.plan_measured("vae", 3)
    metrics.journal(Stats())
    metrics.limits(64, 30.0, {"encode": 1.0})
    metrics.disk(10, 20)
    fill_identity(metrics.of(MAIN))
    metrics.build_info("1.2.3", "mini", "cpu")
    metrics.ready(True)
    metrics.log_suppressed("malformed", 7)


def fill_identity(ours: IdentityMetrics) -> None:
    """Likewise, of those of one identity."""
    ours.now(True, 3)
    ours.failed()
    ours.rejected("unsigned")
    ours.peers(12, 30.0)
    ours.chain_synced("ok", 2.0)
    ours.chain_published("axon", "ok")
    ours.standing(Standing(True, 5_000_000, 256, 17, 12, 0.02, 1.5, 900.0, 0))
    ours.pulled("task")
    ours.submitted("accepted")
    ours.judged(0.7)
    ours.validator("5Val", {"cooldown": 3.0})
    ours.gateway_call("get_tasks", "nothing")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_the_page_passes_promtool(metrics: Metrics) -> None:
    """Prometheus' own linter finds nothing to complain of, with every series there."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    fill(metrics)

    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page(metrics),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_worker_holds_outside_torch_is_shown(metrics: Metrics) -> None:
    """onnxruntime's share of a GPU is a series beside those of torch."""
    metrics.worker(WorkerHealth("0", "ready", memory={"gpu_reserved": 3, "gpu_outside": 9}))

    assert 'miner_worker_gpu_memory_outside_bytes{worker="0"} 9.0' in page(metrics)


def test_every_series_has_one_prefix_and_a_sane_name(metrics: Metrics) -> None:
    """Ours begin with miner_, without colons; the rest is the process's own."""
    fill(metrics)
    families = list(text_string_to_metric_families(page(metrics)))
    assert len(families) > 40
    for family in families:
        assert re.fullmatch(r"(miner|process)_[a-z0-9_]+", family.name)
        assert family.documentation
        assert not family.name.endswith("_created")


def test_every_reading_arrives_under_its_name(metrics: Metrics) -> None:
    """A sample of each group has the value that was given."""
    fill(metrics)
    sample = metrics.registry.get_sample_value
    finished = {"identity": MAIN, "intake": "api", "code": "worker_lost"}
    assert sample("miner_jobs_finished_total", finished) == 1
    labels = {"identity": MAIN, "intake": "api", "generator": "triposr", "outcome": "ok"}
    assert sample("miner_job_duration_seconds_sum", labels) == 1.5
    assert sample("miner_worker_state", {"worker": "0", "state": "ready"}) == 1
    assert sample("miner_worker_state", {"worker": "0", "state": "failed"}) == 0
    assert sample("miner_worker_gpu_memory_estimated_bytes", {"worker": "0"}) == 7
    assert sample("miner_worker_gpu_memory_planned_bytes", {"worker": "0"}) == 8
    assert sample("miner_gpu_memory_used_bytes", {"gpu": "0"}) == 10
    assert sample("miner_gpu_power_watts", {"gpu": "0"}) == 300.0
    assert sample("miner_build_info", {"version": "1.2.3", "preset": "mini", "device": "cpu"}) == 1
    assert sample("miner_stage_budget_seconds", {"stage": "encode"}) == 1.0
    assert sample("miner_disk_free_bytes") == 10
    assert sample("miner_log_lines_suppressed_total", {"kind": "malformed"}) == 7


def test_buckets_fit_what_is_measured() -> None:
    """Jobs of a tenth of a second and of two minutes fall into buckets of their own."""
    assert min(JOB_BUCKETS) <= 0.1 and max(JOB_BUCKETS) >= 120
    assert list(JOB_BUCKETS) == sorted(JOB_BUCKETS)


def test_a_reading_that_ends_takes_its_series_away(metrics: Metrics) -> None:
    """A dead worker's memory is not shown as if it still held it."""
    labels = {"worker": "0"}
    metrics.worker(WorkerHealth("0", "ready", heartbeat_age=1.0, memory={"resident": 10}))
    metrics.worker(WorkerHealth("0", "restarting"))
    assert metrics.registry.get_sample_value("miner_worker_resident_memory_bytes", labels) is None
    assert metrics.registry.get_sample_value("miner_worker_heartbeat_age_seconds", labels) is None


def test_the_state_shown_is_the_last_one_told(metrics: Metrics) -> None:
    """One state of a worker is 1, whichever it was in before."""
    for state in ("ready", "ready", "busy", "ready", "restarting"):
        metrics.worker(WorkerHealth("0", state))
        for other in ("ready", "busy", "restarting"):
            labels = {"worker": "0", "state": other}
            shown = metrics.registry.get_sample_value("miner_worker_state", labels)
            assert shown == (other == state)


def test_one_generator_is_active(metrics: Metrics) -> None:
    """The one before is shown as 0, not forgotten."""
    metrics.generator_active("triposr")
    metrics.generator_active("dreamgaussian")
    sample = metrics.registry.get_sample_value
    assert sample("miner_generator_active", {"generator": "triposr"}) == 0
    assert sample("miner_generator_active", {"generator": "dreamgaussian"}) == 1


def test_commits_are_counted_once(metrics: Metrics) -> None:
    """The journal tells totals; the counter follows them and never falls."""
    for commits in (3, 3, 10, 2):
        metrics.journal(Stats(commits=commits))
    assert metrics.registry.get_sample_value("miner_journal_commits_total") == 10


def test_totals_sum_over_labels(metrics: Metrics) -> None:
    """The status page's counters are sums of all series."""
    metrics.job_accepted(MAIN, "api")
    metrics.job_accepted(MAIN, "tgtask")
    assert metrics.totals()["jobs_accepted"] == 2
    assert metrics.totals()["worker_restarts"] == 0


@pytest.mark.parametrize(
    "flood",
    [
        lambda metrics, text: metrics.request("axon", text, 404, 0.1),
        lambda metrics, text: metrics.of(MAIN).rejected(text),
        lambda metrics, text: metrics.of(text).rejected("unsigned"),
        lambda metrics, text: metrics.malformed("axon", text),
        lambda metrics, text: metrics.log_suppressed(text, 1),
    ],
)
def test_labels_from_outside_cannot_make_the_page_grow(
    metrics: Metrics, flood: Callable[[Metrics, str], None]
) -> None:
    """However many values come, the page keeps the first ones and one for the rest."""
    for number in range(MAX_VALUES):
        flood(metrics, f"value {number}")
    flood(metrics, "one more")
    full = page(metrics).count("\n")
    for number in range(500):
        flood(metrics, f"another {number}")
    assert page(metrics).count("\n") == full
    assert '"other"' in page(metrics)


numbers = st.floats() | st.integers(-(2**70), 2**70)


@settings(deadline=None)  # a busy machine is not what this is about
@given(text=st.text(), number=numbers, count=st.integers(-(2**40), 2**40))
def test_nothing_raises_and_the_page_stays_readable(text: str, number: float, count: int) -> None:
    """Whatever is reported, the report returns, and the page can still be parsed."""
    metrics = Metrics()
    metrics.job_finished(text, text, text, number, text)
    metrics.job_waited(number)
    metrics.stage(text, text, number)
    metrics.asset(text, count, count)
    metrics.queue(count, count)
    metrics.request(text, text, count, number)
    metrics.log_suppressed(text, count)
    metrics.worker(WorkerHealth(text, "ready", memory={text: count}, load_seconds={text: number}))
    metrics.of(text).peers(count, number)
    metrics.build_info(text, text, text)
    metrics.journal(Stats(commits=count, commit_seconds=number))

    families = list(text_string_to_metric_families(page(metrics)))

    sums = [s for f in families for s in f.samples if s.name.endswith("_sum")]
    assert sums and all(s.value >= 0 or math.isinf(s.value) for s in sums)


def test_checks_are_counted_by_what_they_found() -> None:
    """Scores go into a histogram; those under the threshold, and all candidates, are counted."""
    metrics = Metrics()
    metrics.self_checked(0.7, True, 1)
    metrics.self_checked(0.0, False, 4)
    page = generate_latest(metrics.registry).decode()

    assert "miner_self_check_score_count 2.0" in page
    assert "miner_self_checks_below_threshold_total 1.0" in page
    assert "miner_candidates_total 5.0" in page


def test_one_state_of_the_breaker_is_shown_at_a_time() -> None:
    """The state it has left and the step it has given up go to 0, and stay visible."""
    metrics = Metrics()
    metrics.rollback_state("open", ("smaller_chunk",))
    metrics.rollback_state("closed", ())
    value = metrics.registry.get_sample_value

    assert value("miner_rollback_state", {"state": "open"}) == 0
    assert value("miner_rollback_state", {"state": "closed"}) == 1
    assert value("miner_rollback_step", {"step": "smaller_chunk"}) == 0


def test_what_is_rare_is_there_before_it_happens(metrics: Metrics) -> None:
    """Restarts and submissions begin at 0, so that the first is a step an alert can see."""
    metrics.worker(WorkerHealth("0", "ready"))
    metrics.of(MAIN)
    sample = metrics.registry.get_sample_value

    assert sample("miner_worker_restarts_total", {"worker": "0", "reason": "crash"}) == 0
    assert sample("miner_submissions_total", {"identity": MAIN, "outcome": "rejected"}) == 0


def test_the_plan_of_a_new_worker_takes_the_place_of_the_old(metrics: Metrics) -> None:
    """Each component has one precision and residency, planned and measured bytes by kind."""
    metrics.plan(PLAN)
    metrics.plan_measured("vae", 5)
    stage = replace(PLAN.stages[0], precision="fp16", residency="host")
    metrics.plan(replace(PLAN, stages=(stage,)))
    metrics.plan_measured("vae", 6)
    text = page(metrics)

    assert 'miner_plan_bytes{component="vae",kind="measured"} 6.0' in text
    assert 'miner_plan_bytes{component="vae",kind="peak"} 4.0' in text
    assert [line for line in text.splitlines() if line.startswith("miner_plan_info{")] == [
        'miner_plan_info{component="vae",model="FLUX autoencoder",precision="fp16",'
        'residency="host"} 1.0'
    ]


def test_a_plan_of_other_components_leaves_the_first_as_it_is(metrics: Metrics) -> None:
    """Workers that hold different generators have different plans; each component keeps its own."""
    (vae,) = PLAN.stages
    metrics.plan(PLAN)
    metrics.plan(replace(PLAN, stages=(replace(vae, component="dreamgaussian"),)))
    text = page(metrics)

    assert 'miner_plan_bytes{component="vae",kind="peak"}' in text
    assert 'miner_plan_bytes{component="dreamgaussian",kind="peak"}' in text


def test_what_a_worker_holds_is_shown(metrics: Metrics) -> None:
    """One series for each worker, of what it held when it was last ready."""
    metrics.worker(WorkerHealth("0", "ready", generators=("triposr", "dreamgaussian")))
    metrics.worker(WorkerHealth("0", "ready", generators=("dreamgaussian",)))
    found = [one for one in page(metrics).splitlines() if "worker_generators_info{" in one]

    assert found == ['miner_worker_generators_info{generators="dreamgaussian",worker="0"} 1.0']

"""A plan beside what was measured."""

from __future__ import annotations

from miner.gpu.measured import compare, log_fields
from miner.gpu.plan import Card, MemoryPlan, StagePlan

GIB = 1024**3
PLAN = MemoryPlan(
    Card("a card", 24 * GIB, 24 * GIB, (8, 9), 64 * GIB),
    (
        StagePlan("transformer", "FLUX.1-schnell", "fp8", "resident", 11 * GIB, 12 * GIB, 0.7, "x"),
        StagePlan("vae", "FLUX autoencoder", "bf16", "host", GIB, 2 * GIB, None, "y"),
    ),
    "flux-schnell",
    peak_bytes=13 * GIB,
    limit_bytes=22 * GIB,
)


def test_a_stage_is_compared_with_its_neighbours_on_the_device() -> None:
    """The planned peak of a stage counts what others hold there; its own weights count once."""
    whole, transformer, vae = compare(PLAN, {"transformer": 12 * GIB, "vae": 16 * GIB})

    assert (transformer.planned_bytes, vae.planned_bytes) == (12 * GIB, 13 * GIB)
    assert (whole.planned_bytes, whole.measured_bytes) == (13 * GIB, 16 * GIB)
    assert [one.is_over for one in (whole, transformer, vae)] == [True, False, True]
    assert str(vae) == "vae: 16.0 GiB measured, 13.0 GiB planned (1.23 times)"


def test_what_never_ran_is_not_compared() -> None:
    """Only measured components have a line, and nothing at all gives none."""
    assert [one.what for one in compare(PLAN, {"vae": GIB})] == ["all", "vae"]
    assert compare(PLAN, {}) == []


def test_the_log_has_the_whole_plan_in_plain_values() -> None:
    """Card, painter, bytes, and one line for each stage with its reason."""
    fields = log_fields(PLAN)

    assert fields["stages"]["transformer"] == "FLUX.1-schnell: fp8 resident (x)"
    assert (fields["painter"], fields["seconds"]) == ("flux-schnell", 0.7)

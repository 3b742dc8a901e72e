"""The validity gate: what it lets through, and that it names each rule broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest

from miner import encoder
from miner.errors import BadOutput
from miner.geometry.gaussians import Gaussians, from_activated
from miner.pipeline.quality import QualityLimits, check
from tests.encoder.splats import reference


def ball(n: int = 7_000) -> Gaussians:
    """Small turned Gaussians filling a ball of diameter 1.5, its six poles included."""
    rng = np.random.default_rng(5)
    points = rng.standard_normal((n, 3))
    points *= 0.75 * rng.random((n, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    poles = np.concatenate([np.eye(3), -np.eye(3)])[: min(n, 6)] * 0.75
    points[: len(poles)] = poles
    return from_activated(
        points.astype(np.float32),
        rng.uniform(0.002, 0.02, (n, 3)).astype(np.float32),
        rng.standard_normal((n, 4)).astype(np.float32),
        rng.uniform(0.5, 0.99, n).astype(np.float32),
        rng.random((n, 3)).astype(np.float32),
    )


def test_a_sound_splat_passes_with_its_figures() -> None:
    """The report holds what was measured, as numbers that JSON can hold."""
    report = check(ball())

    assert report.gaussians == 7_000
    assert report.sh_degree == 0
    assert report.sides == pytest.approx((1.5, 1.5, 1.5))
    assert report.center == pytest.approx((0, 0, 0), abs=1e-6)
    assert report.faint_share == 0
    assert 0.6 < report.median_opacity < 0.9
    assert report.turned_share == 1
    assert report.scale_range == pytest.approx((0.002, 0.02), rel=0.05)
    assert report.color_range == pytest.approx((0, 1), abs=0.01)
    assert json.loads(json.dumps(asdict(report)))["gaussians"] == 7_000


@pytest.mark.parametrize("variant", encoder.SPZ_VARIANTS)
def test_what_passes_still_passes_as_the_subnet_reads_it(variant: str) -> None:
    """Quantisation, and opacities of 0 and 1 come back infinite, break no rule."""
    splat = ball()
    splat.opacity_logits[:10] = 20
    splat.opacity_logits[10:20] = -20

    check(encoder.decode(encoder.encode(splat, "spz", spz_variant=variant)))


def scale_up(splat: Gaussians) -> None:
    splat.means[:] *= np.float32(1.1)


def shift(splat: Gaussians) -> None:
    splat.means[:, 1] += np.float32(0.1)


def put(name: str, where: object, value: object) -> Callable[[Gaussians], None]:
    def change(splat: Gaussians) -> None:
        getattr(splat, name)[where] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("opacity_logits", slice(5_601), -9), r"80\.0%.*under 0\.001.*80%"),
        (put("quats", ..., [1, 0, 0, 0]), "all 7,000 rotations are the identity"),
        (put("quats", ..., [-2, 0, 0, 0]), "all 7,000 rotations are the identity"),
        (put("quats", 3, 0), "1 rotations have zero length"),
        (put("means", (1, 2), np.nan), "1 numbers of means"),
        (put("log_scales", (1, 2), np.inf), "1 numbers of log_scales"),
        (put("quats", 1, np.nan), "4 numbers of quats"),
        (put("sh_dc", 1, -np.inf), "3 numbers of sh_dc"),
        (put("opacity_logits", 1, np.nan), "1 numbers of opacity_logits"),
        (scale_up, r"longest side is 1\.65, not 1\.5"),
        (put("means", ..., 0), r"longest side is 0, not 1\.5"),
        (put("means", (6, 1), 3), r"longest side is 3\.75.*y = 1\.125"),
        (shift, r"middle lies at y = 0\.1, "),
        (put("log_scales", (1, 2), 0), r"largest scale is 1, .*0\.25"),
        (put("log_scales", (1, 2), 3e38), r"largest scale is inf, .*0\.25"),
        (put("log_scales", (1, 2), -20), r"smallest scale is 2\.06e-09"),
        (put("log_scales", (1, 2), -3e38), "smallest scale is 0, "),
        (put("sh_dc", (1, 2), 5), r"highest colour is 1\.91, .*1\.45"),
        (put("sh_dc", (1, 2), -5), r"lowest colour is -0\.91, .*-0\.45"),
    ],
)
def test_each_rule_is_named_with_its_number_and_limit(
    change: Callable[[Gaussians], None], words: str
) -> None:
    """A splat that breaks one rule is stopped by that rule, in one line of stage "quality"."""
    splat = ball()
    change(splat)

    with pytest.raises(BadOutput, match=words) as caught:
        check(splat)

    assert caught.value.stage == "quality"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("n", "words"), [(0, "0 Gaussians"), (6_999, "6,999 Gaussians.*7,000")])
def test_too_few_are_stopped(n: int, words: str) -> None:
    """6,999 are one too few, and none at all is no crash."""
    with pytest.raises(BadOutput, match=words):
        check(ball(n))


def test_too_many_are_stopped() -> None:
    """The upper limit holds as well."""
    with pytest.raises(BadOutput, match=r"7,000 Gaussians, over the maximum of 6,999"):
        check(ball(), QualityLimits(min_gaussians=1, max_gaussians=6_999))


def test_exactly_four_fifths_faint_passes() -> None:
    """The subnet's rule is at most 80 %, and that is what is let through."""
    splat = ball()
    splat.opacity_logits[:5_600] = -9

    assert check(splat).faint_share == pytest.approx(0.8)


def test_one_turned_rotation_is_enough() -> None:
    """The subnet refuses a splat only when every single rotation is the identity."""
    splat = ball()
    splat.quats[:] = [1, 0, 0, 0]
    splat.quats[0] = [0.9, 0.1, 0, 0]

    assert check(splat).turned_share == pytest.approx(1 / 7_000)


def test_all_faults_are_told_at_once() -> None:
    """Someone who mends a splat need not come back for each rule."""
    splat = ball(100)
    scale_up(splat)

    with pytest.raises(BadOutput, match=r"100 Gaussians.*; .*longest side"):
        check(splat)


def test_the_splat_is_left_as_it_was() -> None:
    """Checking changes nothing."""
    splat, other = ball(), ball()

    check(splat)

    assert encoder.encode(splat, "ply") == encoder.encode(other, "ply")


def test_a_real_asset_passes_but_for_its_size() -> None:
    """The subnet's sample, one unit long, breaks the longest-side rule and no other."""
    splat = encoder.load(reference("robocop.spz"))

    with pytest.raises(BadOutput) as caught:
        check(splat)
    assert "longest side is 0.99" in str(caught.value)

    limits = replace(QualityLimits(), longest_side=1.0, center_tolerance=0.1)
    assert check(splat, limits).gaussians == 267_776

"""SPZ files of others read by us, and ours read by others."""

from __future__ import annotations

from pathlib import Path

import gsply
import numpy as np
import pytest

from miner.encoder import spz
from tests.encoder.splats import assert_same, plausible, reference
from tests.encoder.spz_files import angle, payload_of


@pytest.mark.parametrize("variant", ["v2", "v3"])
@pytest.mark.parametrize("degree", range(4))
def test_gsply_reads_ours(tmp_path: Path, variant: str, degree: int) -> None:
    """An independent reader finds in our viewer files what we find in them."""
    path = tmp_path / "ours.spz"
    path.write_bytes(spz.encode(plausible(500, degree), variant))

    theirs, ours = gsply.read_spz(path), spz.decode(path.read_bytes())

    np.testing.assert_array_equal(theirs.means, ours.means)
    np.testing.assert_allclose(theirs.scales, ours.log_scales, atol=1e-6)
    np.testing.assert_allclose(theirs.sh0, ours.sh_dc, atol=1e-6)
    np.testing.assert_allclose(theirs.quats, ours.quats, atol=2e-4)  # w of sqrt near 0
    inside = np.isfinite(ours.opacity_logits)
    np.testing.assert_allclose(theirs.opacities[inside], ours.opacity_logits[inside], atol=1e-4)
    if degree:
        np.testing.assert_array_equal(theirs.shN, ours.sh_rest)


@pytest.mark.parametrize("degree", range(4))
def test_we_read_gsply(tmp_path: Path, degree: int) -> None:
    """We find in an independent writer's version 3 file what it wrote."""
    splat, path = plausible(500, degree), tmp_path / "theirs.spz"
    unit = splat.quats / np.linalg.norm(splat.quats, axis=1, keepdims=True)
    rest = splat.sh_rest if degree else None
    cloud = gsply.GSData.from_arrays(
        splat.means, splat.log_scales, unit, splat.opacity_logits, splat.sh_dc, rest
    )
    gsply.write_spz(path, cloud, version=3)

    back = spz.decode(path.read_bytes())

    np.testing.assert_allclose(back.means, splat.means, atol=0.5001 / 4096)
    np.testing.assert_allclose(back.log_scales, splat.log_scales, atol=0.5001 / 16)
    np.testing.assert_allclose(back.sh_dc, splat.sh_dc, atol=0.0135)
    assert angle(back.quats, splat.quats).max() < 0.005
    if degree:
        np.testing.assert_allclose(back.sh_rest, splat.sh_rest, atol=0.51 / 128)


def test_the_subnets_own_asset_is_read() -> None:
    """The sample holds 267,776 Gaussians in 16 + 19 n bytes, and passes a second time unchanged.

    Its rotations are stored afresh, at most one step from where they were.
    """
    data = reference("robocop.spz").read_bytes()
    payload = payload_of(data)

    splat = spz.decode(data)
    again = payload_of(spz.encode(splat))

    n = len(splat)
    assert n == 267_776
    assert splat.sh_degree == 0
    assert len(payload) == len(again) == 16 + 19 * n
    assert again[: 16 + 16 * n] == payload[: 16 + 16 * n]
    before, after = (
        np.frombuffer(p[16 + 16 * n :], np.uint8).astype(int) for p in (payload, again)
    )
    assert np.abs(before - after).max() <= 1
    assert (before != after).mean() < 0.01


def test_decoding_twice_gives_the_same_splat() -> None:
    """Decoding keeps nothing from one file to the next."""
    one, other = spz.encode(plausible(5)), spz.encode(plausible(6, 2), "v3")

    assert_same(spz.decode(one), spz.decode(one))
    assert len(spz.decode(other)) == 6

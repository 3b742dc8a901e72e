"""The SPZ codec's output: exact to the specification, and what comes back of it."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from miner.encoder import planes, spz
from miner.errors import BadAsset, BadOption
from miner.geometry.gaussians import Gaussians
from tests.encoder.splats import finite_gaussians, plausible
from tests.encoder.spz_files import ANGLE_STEP, REACH, VARIANTS, angle, header, payload_of

# ---- what is written ---------------------------------------------------------------------------


def test_subnet_file_is_one_zstd_frame_of_16_plus_19_n_bytes_with_its_size() -> None:
    """The subnet's decoder allocates by the content size that the frame must carry."""
    data = spz.encode(plausible(1000))

    assert zstandard.get_frame_parameters(data).content_size == 16 + 19 * 1000
    assert payload_of(data)[:16] == header(1000)


@pytest.mark.parametrize(("variant", "version", "size"), [("v2", 2, 19), ("v3", 3, 20)])
def test_viewer_files_are_gzip_of_their_version(variant: str, version: int, size: int) -> None:
    """Variants v2 and v3 are gzip members with 19 and 20 bytes a Gaussian."""
    payload = payload_of(spz.encode(plausible(10), variant))

    assert payload[:16] == header(10, version)
    assert len(payload) == 16 + size * 10


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_splats_give_equal_files(variant: str) -> None:
    """Nothing but the splat enters a file: no time, no name."""
    assert spz.encode(plausible(9, 3), variant) == spz.encode(plausible(9, 3), variant)


def rounded(value: float) -> int:
    """Half away from zero, clamped to a byte: the specification, slowly."""
    return min(255, max(0, math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)))


def slow_planes(splat: Gaussians, version: int) -> bytes:
    """The specification read aloud: one Gaussian, one number at a time, in double precision."""
    out: list[bytes] = []
    for mean in splat.means.ravel().tolist():
        step = math.floor(abs(mean) * 4096 + 0.5) * (1 if mean >= 0 else -1)
        out.append(struct.pack("<i", step)[:3])
    out += [bytes([rounded(255 / (1 + math.exp(-x)))]) for x in splat.opacity_logits.tolist()]
    out += [bytes([rounded(c * 0.15 * 255 + 127.5)]) for c in splat.sh_dc.ravel().tolist()]
    out += [bytes([rounded((s + 10) * 16)]) for s in splat.log_scales.ravel().tolist()]
    for w, x, y, z in splat.quats.tolist():
        length = math.sqrt(w * w + x * x + y * y + z * z)
        xyzw = [x / length, y / length, z / length, w / length]
        out.append(slow_smallest_three(xyzw) if version == 3 else slow_first_three(xyzw))
    for coefficients in splat.sh_rest.tolist():
        for place, rgb in enumerate(coefficients):
            bucket = 8 if place < 3 else 16
            for value in rgb:
                q = math.floor(abs(value) * 128 + 0.5) * (1 if value >= 0 else -1) + 128
                out.append(bytes([min(255, max(0, (q + bucket // 2) // bucket * bucket))]))
    return b"".join(out)


def slow_first_three(xyzw: list[float]) -> bytes:
    sign = -1 if xyzw[3] < 0 else 1
    return bytes(rounded(sign * c * 127.5 + 127.5) for c in xyzw[:3])


def slow_smallest_three(xyzw: list[float]) -> bytes:
    place = max(range(4), key=lambda i: abs(xyzw[i]))
    sign = -1 if xyzw[place] < 0 else 1
    word = place
    for i in range(4):
        if i != place:
            magnitude = math.floor(511 * abs(xyzw[i]) / math.sqrt(0.5) + 0.5)
            word = word << 10 | (512 if sign * xyzw[i] < 0 else 0) | magnitude
    return struct.pack("<I", word)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("degree", range(4))
def test_planes_agree_with_the_slow_twin(version: int, degree: int) -> None:
    """The vectorised planes are those of the specification read number by number.

    The twin works in double precision. A number within float32's rounding of a half may go to the
    next step; at this size a handful of 20,000 to 60,000 bytes does, and none by more than one.
    """
    splat = plausible(1000, degree, seed=version)
    fast = np.concatenate(planes.pack(splat, version))
    slow = np.frombuffer(slow_planes(splat, version), np.uint8)

    differing = fast != slow

    assert differing.sum() <= 5
    assert np.abs(fast.astype(int) - slow)[differing].max(initial=0) in (0, 1)


def test_halves_are_rounded_away_from_zero() -> None:
    """Exactly between two steps the larger magnitude wins, for positions of either sign too."""
    splat = plausible(4)
    means = np.array([[0.5, -0.5, 1.5], [-1.5, 2.5, -2.5], [0, 0.49999997, 3], [0, 0, 0]]) / 4096
    scales = np.array([[0.5, 1.5, 2.5], [0.25, 0, 254.5], [255, 256, -1], [0, 0, 0]])
    splat = Gaussians(
        means.astype(np.float32),
        (scales / 16 - 10).astype(np.float32),
        splat.quats,
        splat.opacity_logits,
        splat.sh_dc,
        splat.sh_rest,
    )

    packed = planes.pack(splat, 2)

    steps = [int.from_bytes(packed[0][i : i + 3], "little", signed=True) for i in range(0, 36, 3)]
    assert steps == [1, -1, 2, -2, 3, -3, 0, 0, 3, 0, 0, 0]
    assert packed[3].tolist()[:9] == [1, 2, 3, 0, 0, 255, 255, 255, 0]


def test_identity_is_stored_as_the_subnet_stores_it() -> None:
    """An identity rotation comes back as about (0.99998, .0039, .0039, .0039) in version 2."""
    splat = plausible(1)
    splat.quats[:] = [1, 0, 0, 0]

    back = spz.decode(spz.encode(splat)).quats[0]

    np.testing.assert_allclose(back, [0.99998, 0.00392, 0.00392, 0.00392], atol=1e-5)


# ---- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@given(degree=st.integers(0, 3), seed=st.integers(0, 1000))
def test_round_trip_is_within_quantisation(variant: str, degree: int, seed: int) -> None:
    """Every attribute comes back within half a step of its quantisation."""
    splat = plausible(30, degree, seed)

    back = spz.decode(spz.encode(splat, variant))

    assert back.sh_degree == degree
    np.testing.assert_allclose(back.means, splat.means, atol=0.5001 / 4096)
    np.testing.assert_allclose(back.log_scales, splat.log_scales, atol=0.5001 / 16)
    np.testing.assert_allclose(back.sh_dc, np.clip(splat.sh_dc, -3.33, 3.33), atol=0.0135)
    alpha = [1 / (1 + np.exp(-g.opacity_logits.astype(np.float64))) for g in (back, splat)]
    np.testing.assert_allclose(*alpha, atol=0.5001 / 255)
    np.testing.assert_allclose(back.sh_rest[:, :3], splat.sh_rest[:, :3], atol=4.51 / 128)
    np.testing.assert_allclose(back.sh_rest[:, 3:], splat.sh_rest[:, 3:], atol=8.51 / 128)
    assert angle(back.quats, splat.quats).max() < ANGLE_STEP[variant]


@pytest.mark.parametrize("variant", VARIANTS)
@given(splat=finite_gaussians(reach=REACH))
def test_any_splat_survives_and_a_second_pass_changes_nothing(
    variant: str, splat: Gaussians
) -> None:
    """Encoding is idempotent: what was decoded encodes to the same bytes again.

    Not the rotations': where the stored components are longer than a unit or two are equally
    large, they are stored afresh, within the angle that a step makes.
    """
    once = spz.decode(spz.encode(splat, variant))
    twice = spz.decode(spz.encode(once, variant))

    for name in ("means", "log_scales", "opacity_logits", "sh_dc", "sh_rest"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name), err_msg=name)
    assert angle(twice.quats, once.quats).max() < ANGLE_STEP[variant]


def test_opacities_of_zero_and_one_are_infinite_logits() -> None:
    """The ends of the scale decode to infinities, and those encode to the ends."""
    splat = plausible(3)
    splat.opacity_logits[:] = [-np.inf, 0, np.inf]

    back = spz.decode(spz.encode(splat))

    assert back.opacity_logits[0] == -np.inf
    assert back.opacity_logits[2] == np.inf


# ---- what is refused on output -----------------------------------------------------------------


def with_first(name: str, value: float) -> Gaussians:
    splat = plausible(3, degree=1)
    getattr(splat, name)[0] = value
    return splat


@pytest.mark.parametrize(
    ("splat", "words"),
    [
        (plausible(0), "no Gaussians"),
        (with_first("means", 2048), r"\+-2048"),
        (with_first("means", 2047.99995), r"\+-2048"),
        (with_first("means", -3e38), r"\+-2048"),
        (with_first("quats", 0), "zero length"),
        *[(with_first(name, np.nan), name)
          for name in ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")],
        *[(with_first(name, np.inf), name) for name in ("means", "log_scales", "quats", "sh_dc")],
    ],
)  # fmt: skip
def test_what_a_file_cannot_hold_is_refused(splat: Gaussians, words: str) -> None:
    """A splat that cannot be stored truthfully is refused, never stored wrapped or as garbage."""
    with pytest.raises(BadAsset, match=words):
        spz.encode(splat)


def test_quaternions_of_any_length_are_normalised() -> None:
    """Lengths that overflow or vanish when squared still give the same rotation."""
    splat = plausible(5)
    data = spz.encode(splat, "v3")
    for factor in (2.0**100, 2.0**-100):
        splat.quats[:] *= np.float32(factor)
        assert spz.encode(splat, "v3") == data
        splat.quats[:] /= np.float32(factor)


def test_unknown_variant_is_named() -> None:
    """The error lists what can be chosen."""
    with pytest.raises(BadOption, match=r"'v4'.*subnet, v2, v3"):
        spz.encode(plausible(1), "v4")
